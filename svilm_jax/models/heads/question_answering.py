"""Question answering head: fuses question tokens with video and group tokens, and classifies by the first token.

docs/method.md, 1.7 [C]: a classification over the answers of the training split, on a fusion of both towers' outputs.
"""

import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Float32

from svilm_jax.models.attention import Attention
from svilm_jax.models.linear import Linear
from svilm_jax.models.transformer import MLP, LayerNorm

EPSILON = 1e-6


class FusionLayer(nnx.Module):
    """Pre-norm cross-attention from the question to the clip, self-attention over the question, and an MLP."""

    def __init__(self, width: int, heads: int, *, activation: str, attention: str, dtype: DTypeLike, rngs: nnx.Rngs):
        def norm() -> LayerNorm:
            return LayerNorm(width, epsilon=EPSILON, rngs=rngs)

        def attend() -> Attention:
            return Attention(width, heads, implementation=attention, dtype=dtype, rngs=rngs)

        self.cross_norm, self.self_norm, self.mlp_norm = norm(), norm(), norm()
        self.cross_attention, self.self_attention = attend(), attend()
        self.mlp = MLP(width, 4.0, activation, dtype=dtype, rngs=rngs)

    def __call__(
        self, x: Float[Array, "B L D"], mask: Bool[Array, "B L"], context: Float[Array, "B N D"]
    ) -> Float[Array, "B L D"]:
        """x [B, L, D], mask bool [B, L], context [B, N, D] -> [B, L, D]."""
        x = x + self.cross_attention(self.cross_norm(x), context)
        x = x + self.self_attention(self.self_norm(x), mask=mask)
        return x + self.mlp(self.mlp_norm(x))


class QuestionAnsweringHead(nnx.Module):
    """Fusion layers between the towers, and a linear classifier over the answers."""

    def __init__(
        self,
        video_width: int,
        text_width: int,
        heads: int,
        layers: int,
        classes: int,
        *,
        activation: str,
        attention: str,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.dtype = dtype
        self.context = Linear(video_width, text_width, ("embed", None), dtype=dtype, rngs=rngs)
        self.context_norm = LayerNorm(text_width, epsilon=EPSILON, rngs=rngs)
        self.layers = nnx.List(
            FusionLayer(text_width, heads, activation=activation, attention=attention, dtype=dtype, rngs=rngs)
            for _ in range(layers)
        )
        self.norm = LayerNorm(text_width, epsilon=EPSILON, rngs=rngs)
        self.out = Linear(text_width, classes, ("embed", None), gain=0.1, dtype=jnp.dtype(jnp.float32), rngs=rngs)

    def __call__(
        self,
        tokens: Float[Array, "B Nt Ns D"],
        groups: Float[Array, "B M D"],
        question: Float[Array, "B L Dt"],
        mask: Bool[Array, "B L"],
    ) -> Float32[Array, "B classes"]:
        """Computes the logits of all answers.

        Args:
          tokens: [B, Nt, Ns, D] final video tokens.
          groups: [B, M, D] final group tokens.
          question: [B, L, Dt] token outputs of the text tower.
          mask: bool [B, L], False at padding.

        Returns:
          float32 [B, classes].
        """
        context = jnp.concatenate([rearrange(tokens, "b nt ns d -> b (nt ns) d"), groups], axis=1)  # [B, N+M, D]
        context = self.context_norm(self.context(context.astype(self.dtype)))  # [B, N+M, Dt]
        x = question.astype(self.dtype)
        mask = mask.at[:, 0].set(True)
        for layer in self.layers:
            x = layer(x, mask, context)
        return self.out(self.norm(x[:, 0]).astype(jnp.float32))
