"""How is attention computed on a TPU? By JAX's splash kernel, rows filled up to its blocks and the filling masked."""

from typing import Any

import jax
import jax.numpy as jnp

BLOCK = 512  # queries and keys a step of the kernel, at most
LANES = 128  # what a block has to be a multiple of


def splash(
    query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None = None, *, interpret: bool = False
) -> jax.Array:
    """softmax(q kᵀ / √d) v without ever holding the scores.

    Args:
      query: [B, N, H, d].
      key, value: [B, S, H, d].
      mask: bool [B, S], False where a key is padding.
      interpret: run the kernel step by step on any device, for tests.

    Returns:
      [B, N, H, d] of the query's dtype.
    """
    tokens, heads, depth = query.shape[1:]
    rows, columns = _filled(tokens), _filled(key.shape[1])
    kernel = _kernel(heads, rows, columns, interpret)

    def put(x: jax.Array, size: int) -> jax.Array:
        """[B, N, H, d] -> [B, H, size, d]."""
        return jnp.pad(x.transpose(0, 2, 1, 3), ((0, 0), (0, 0), (0, size - x.shape[1]), (0, 0)))

    # Two segments: a query of the first sees keys of the first only. Queries that fill up stay in it, so that every
    # row has a key; they are cut off again.
    mask = jnp.ones(key.shape[:2], bool) if mask is None else mask
    of_keys = jnp.pad(mask, ((0, 0), (0, columns - key.shape[1]))).astype(jnp.int32)  # [B, S']
    of_queries = jnp.ones((query.shape[0], rows), jnp.int32)
    scaled = (query * depth**-0.5).astype(query.dtype)
    mixed = jax.vmap(kernel)(
        put(scaled, rows), put(key, columns), put(value, columns), _segments(of_queries, of_keys)
    )  # [B, H, N', d]
    return mixed[:, :, :tokens].transpose(0, 2, 1, 3).astype(query.dtype)


def _filled(tokens: int) -> int:
    """The next length that blocks divide."""
    block = min(BLOCK, -(-tokens // LANES) * LANES)
    return -(-tokens // block) * block


def _segments(of_queries: jax.Array, of_keys: jax.Array) -> Any:
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel

    return splash_attention_kernel.SegmentIds(q=of_queries, kv=of_keys)


def _kernel(heads: int, rows: int, columns: int, interpret: bool) -> Any:
    # Imported where it is used: Pallas takes a second, and only TPUs and tests want it.
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    queries, keys = min(BLOCK, rows), min(BLOCK, columns)
    sizes = kernels.BlockSizes(
        block_q=queries,
        block_kv=keys,
        block_kv_compute=keys,
        block_q_dkv=queries,
        block_kv_dkv=keys,
        block_kv_dkv_compute=keys,
        block_q_dq=queries,
        block_kv_dq=keys,
    )
    everything = masks.MultiHeadMask([masks.FullMask((rows, columns)) for _ in range(heads)])
    return kernels.make_splash_mha(
        mask=everything, block_sizes=sizes, head_shards=1, q_seq_shards=1, interpret=interpret
    )
