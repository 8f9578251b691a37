"""L2 normalization of embeddings."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32


def normalize(x: Float[Array, "*batch C"], epsilon: float = 1e-12) -> Float32[Array, "*batch C"]:
    """Returns x / |x| in float32 over the last axis, with finite gradients at zero (padded phrases can be zero)."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.sum(x * x, axis=-1, keepdims=True) + epsilon)
