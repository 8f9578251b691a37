"""How do tokens attend to tokens? One function with several implementations, and the multi-head module around it."""

import jax
import jax.numpy as jnp
from flax import nnx

from svilm_jax.config import ConfigError, nearest

IMPLEMENTATIONS = ("auto", "xla", "cudnn")


def attend(
    query: jax.Array, key: jax.Array, value: jax.Array, *, mask: jax.Array | None = None, implementation: str = "auto"
) -> jax.Array:
    """softmax(q kᵀ / √d) v, the softmax in float32.

    Args:
      query: [B, N, H, d].
      key, value: [B, S, H, d].
      mask: bool [B, S], False where a key is padding; every row needs one True.
      implementation: `xla` is the reference; `cudnn` needs an NVIDIA GPU and 16-bit inputs; `auto` takes cudnn there
        and xla elsewhere.

    Returns:
      [B, N, H, d] of the query's dtype.
    """
    if implementation not in IMPLEMENTATIONS:
        raise ConfigError(
            f"config.model.attention={implementation!r}: expected one of {IMPLEMENTATIONS}"
            f"{nearest(implementation, IMPLEMENTATIONS)}"
        )
    if implementation == "auto":
        half = query.dtype in (jnp.bfloat16, jnp.float16)
        implementation = "cudnn" if jax.default_backend() == "gpu" and half and query.shape[-1] % 8 == 0 else "xla"
    return jax.nn.dot_product_attention(
        query,
        key,
        value,
        mask=None if mask is None else mask[:, None, None, :],
        implementation=implementation,  # type: ignore[arg-type]
    )


class Attention(nnx.Module):
    """Multi-head attention; self-attention when no context is given.

    Queries, keys and values come from three projections held in one kernel [D, 3, H, d], so that a layer reads its
    input once.
    """

    def __init__(self, width: int, heads: int, *, implementation: str, dtype: jnp.dtype, rngs: nnx.Rngs):
        if width % heads:
            raise ConfigError(f"width {width} does not divide into {heads} heads")
        self.heads, self.implementation = heads, implementation
        shape = (3, heads, width // heads)
        self.qkv = nnx.LinearGeneral(
            width,
            shape,
            dtype=dtype,
            rngs=rngs,
            kernel_metadata={"axes": ("embed", None, "heads", None)},
            bias_metadata={"axes": (None, "heads", None)},
        )
        self.out = nnx.LinearGeneral(
            (heads, width // heads),
            width,
            axis=(-2, -1),
            dtype=dtype,
            rngs=rngs,
            kernel_metadata={"axes": ("heads", None, "embed")},
            bias_metadata={"axes": ("norm",)},
        )

    def __call__(self, x: jax.Array, context: jax.Array | None = None, mask: jax.Array | None = None) -> jax.Array:
        """x [B, N, D], context [B, S, D], mask bool [B, S] of the keys -> [B, N, D]."""
        if context is None:
            query, key, value = jnp.moveaxis(self.qkv(x), -3, 0)  # 3 × [B, N, H, d]
        else:
            query = self._project(x, 0, 1)[..., 0, :, :]
            key, value = jnp.moveaxis(self._project(context, 1, 3), -3, 0)
        mixed = attend(query, key, value, mask=mask, implementation=self.implementation)
        return self.out(mixed)

    def _project(self, x: jax.Array, start: int, stop: int) -> jax.Array:
        """Some of the three projections: cross-attention reads queries and keys from different tokens."""
        dtype = self.qkv.dtype or x.dtype
        kernel = self.qkv.kernel[...][:, start:stop].astype(dtype)
        bias = self.qkv.bias[...][start:stop].astype(dtype)
        return jnp.einsum("bnd,dkhe->bnkhe", x.astype(dtype), kernel) + bias
