"""Attention on TPU by JAX's splash kernel, with rows padded to its block size and the padding masked."""

import jax
import jax.numpy as jnp
from einops import rearrange

LANES = 128  # block sizes of queries and keys must be multiples of this
BLOCKS = (384, 1024)  # range of block sizes per kernel step: smaller ones waste time, larger ones memory [C]


def splash(
    query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None = None, *, interpret: bool = False
) -> jax.Array:
    """Computes softmax(q kᵀ / √d) v without materializing the scores.

    Args:
      query: [B, N, H, d].
      key: [B, S, H, d].
      value: [B, S, H, d].
      mask: bool [B, S], False where a key is padding.
      interpret: run the kernel in interpret mode on any device, for tests.

    Returns:
      [B, N, H, d] in the dtype of the query.
    """
    tokens, heads, depth = query.shape[1:]
    # Imported lazily: Pallas takes a second to import, and only TPUs and tests need it.
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    queries, keys = block(tokens), block(key.shape[1])
    rows, columns = -(-tokens // queries) * queries, -(-key.shape[1] // keys) * keys
    kernel = kernels.make_splash_mha(
        mask=masks.MultiHeadMask([masks.FullMask((rows, columns)) for _ in range(heads)]),
        block_sizes=kernels.BlockSizes(
            block_q=queries,
            block_kv=keys,
            block_kv_compute=keys,
            block_q_dkv=queries,
            block_kv_dkv=keys,
            block_kv_dkv_compute=keys,
            block_q_dq=queries,
            block_kv_dq=keys,
        ),
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )

    def put(x: jax.Array, size: int) -> jax.Array:
        """[B, N, H, d] -> [B, H, size, d]."""
        return jnp.pad(rearrange(x, "b n h d -> b h n d"), ((0, 0), (0, 0), (0, size - x.shape[1]), (0, 0)))

    # Two segments: a query of the first sees keys of the first only. Padding queries are in it too, so that every row
    # has a key; they are removed again.
    mask = jnp.ones(key.shape[:2], bool) if mask is None else mask
    of_keys = jnp.pad(mask, ((0, 0), (0, columns - key.shape[1]))).astype(jnp.int32)  # [B, S']
    of_queries = jnp.ones((query.shape[0], rows), jnp.int32)
    scaled = (query * depth**-0.5).astype(query.dtype)
    segments = kernels.SegmentIds(q=of_queries, kv=of_keys)
    mixed = jax.vmap(kernel)(put(scaled, rows), put(key, columns), put(value, columns), segments)  # [B, H, N', d]
    return rearrange(mixed[:, :, :tokens], "b h n d -> b n h d").astype(query.dtype)


def block(tokens: int) -> int:
    """Returns the block size for a number of tokens: the one with the least padding, and of those the largest."""
    least, most = BLOCKS
    whole = -(-tokens // LANES) * LANES
    if whole <= most:
        return whole
    return min(range(least, most + 1, LANES), key=lambda size: (-(-tokens // size) * size, -size))
