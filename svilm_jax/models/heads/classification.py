"""Classification head: a linear layer on the mean of a clip's final video tokens (docs/method.md, 1.7)."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Float32

from svilm_jax.models.linear import Linear
from svilm_jax.models.transformer import LayerNorm


class ClassificationHead(nnx.Module):
    """Layer norm and linear layer in float32: cheap, and the logits go into a softmax."""

    def __init__(self, width: int, classes: int, *, rngs: nnx.Rngs):
        self.norm = LayerNorm(width, epsilon=1e-6, rngs=rngs)
        # A tenth of the usual gain: initial predictions are almost uniform, and gradients into the towers small.
        self.out = Linear(width, classes, ("embed", None), gain=0.1, dtype=jnp.dtype(jnp.float32), rngs=rngs)

    def __call__(self, tokens: Float[Array, "B Nt Ns D"]) -> Float32[Array, "B classes"]:
        """tokens [B, Nt, Ns, D] -> logits float32 [B, classes]."""
        pooled = tokens.astype(jnp.float32).mean(axis=(1, 2))  # [B, D]
        return self.out(self.norm(pooled))
