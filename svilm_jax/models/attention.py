"""How do tokens attend to tokens? One function with several implementations, and the multi-head module around it."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec

from svilm_jax.config import ConfigError, nearest
from svilm_jax.models.linear import Linear
from svilm_jax.parallel import RULES

IMPLEMENTATIONS = ("auto", "xla", "cudnn", "rowwise")


def attend(
    query: jax.Array, key: jax.Array, value: jax.Array, *, mask: jax.Array | None = None, implementation: str = "auto"
) -> jax.Array:
    """softmax(q kᵀ / √d) v, the softmax in float32.

    Args:
      query: [B, N, H, d].
      key, value: [B, S, H, d].
      mask: bool [B, S], False where a key is padding; every row needs one True.
      implementation: `xla` is the reference; `cudnn` needs an NVIDIA GPU and 16-bit inputs; `rowwise` goes through
        clips and heads one at a time and keeps no scores for the backward pass, which is the fastest on CPU; `auto`
        chooses by device.

    Returns:
      [B, N, H, d] of the query's dtype.
    """
    if implementation not in IMPLEMENTATIONS:
        raise ConfigError(
            f"config.model.attention={implementation!r}: expected one of {IMPLEMENTATIONS}"
            f"{nearest(implementation, IMPLEMENTATIONS)}"
        )
    if implementation == "auto":
        implementation = _choose(query)
    if implementation == "rowwise":
        return _rowwise_on_mesh(query, key, value, mask)
    return jax.nn.dot_product_attention(  # type: ignore[call-overload]
        query,
        key,
        value,
        mask=None if mask is None else mask[:, None, None, :],
        implementation=implementation,
    )


def _choose(query: jax.Array) -> str:
    backend = jax.default_backend()
    if backend == "cpu":
        return "rowwise"
    half = query.dtype in (jnp.bfloat16, jnp.float16)
    return "cudnn" if backend == "gpu" and half and query.shape[-1] % 8 == 0 else "xla"


def _rowwise_on_mesh(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Each device goes through its own rows: a loop over a sharded axis would gather it first."""
    if mask is None:
        mask = jnp.ones(key.shape[:2], bool)
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return _rowwise(query, key, value, mask)
    rows = PartitionSpec(RULES["batch"], None, RULES["heads"], None)
    local = jax.shard_map(
        _rowwise, in_specs=(rows, rows, rows, PartitionSpec(RULES["batch"], None)), out_specs=rows, check_vma=False
    )
    return local(query, key, value, mask)


def _rowwise(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
    batch, tokens, heads, depth = query.shape

    def rows(x: jax.Array) -> jax.Array:
        return x.transpose(0, 2, 1, 3).reshape(batch * heads, -1, depth)  # [B*H, N, d]

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def one(row: tuple[jax.Array, jax.Array, jax.Array, jax.Array]) -> jax.Array:
        q, k, v, keep = row
        scores = jnp.where(keep, (q @ k.T).astype(jnp.float32) * depth**-0.5, -1e30)  # [N, S]
        weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
        # Dividing the product and not the weights: N·d divisions in place of N·S.
        return ((weights.astype(v.dtype) @ v) / weights.sum(axis=-1, keepdims=True)).astype(v.dtype)

    mixed = jax.lax.map(one, (rows(query), rows(key), rows(value), jnp.repeat(mask, heads, axis=0)))
    return mixed.reshape(batch, heads, tokens, depth).transpose(0, 2, 1, 3)


class Attention(nnx.Module):
    """Multi-head attention; self-attention when no context is given."""

    def __init__(self, width: int, heads: int, *, implementation: str, dtype: jnp.dtype, rngs: nnx.Rngs):
        if width % heads:
            raise ConfigError(f"width {width} does not divide into {heads} heads")
        self.heads, self.implementation = heads, implementation

        def projection() -> Linear:
            return Linear(width, width, ("embed", "heads"), dtype=dtype, rngs=rngs)

        self.query, self.key, self.value = projection(), projection(), projection()
        self.out = Linear(width, width, ("heads", "embed"), dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array, context: jax.Array | None = None, mask: jax.Array | None = None) -> jax.Array:
        """x [B, N, D], context [B, S, D], mask bool [B, S] of the keys -> [B, N, D]."""
        context = x if context is None else context
        query, key, value = self.query(x), self.key(context), self.value(context)
        mixed = attend(
            *(y.reshape(*y.shape[:2], self.heads, -1) for y in (query, key, value)),  # [B, N, H, d]
            mask=mask,
            implementation=self.implementation,
        )
        return self.out(mixed.reshape(x.shape))
