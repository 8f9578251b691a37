"""Grouping block: assigns video tokens to group tokens by k-means-style attention (docs/method.md, 1.1).

As in GroupViT (arXiv 2202.11094), every video token is assigned to one group, and every group becomes the mean of its
tokens.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32

from svilm_jax.models.attention import Attention
from svilm_jax.models.linear import Linear
from svilm_jax.models.transformer import MLP, LayerNorm


def assign(
    logits: Float32[Array, "B M N"], kind: str, *, train: bool, rng: jax.Array | None = None
) -> Float32[Array, "B M N"]:
    """Assigns every token to the groups.

    Args:
      logits: float32 [B, M, N], affinity of group m to token n.
      kind: `hard`, one-hot of the argmax, with the gradient of the softmax (straight-through); `gumbel`, the same with
        Gumbel(0, 1) noise in training; `soft`, the softmax itself.
      train: noise and straight-through only apply in training; in evaluation hard and gumbel take the argmax.
      rng: key, required for `gumbel` in training.

    Returns:
      float32 [B, M, N], summing to one over M for every token.
    """
    if kind == "gumbel" and train:
        if rng is None:
            raise ValueError("gumbel assignment in training draws noise: pass rng")
        logits = logits + jax.random.gumbel(rng, logits.shape, logits.dtype)
    soft = jax.nn.softmax(logits, axis=1)
    if kind == "soft":
        return soft
    hard = jax.nn.one_hot(jnp.argmax(logits, axis=1), logits.shape[1], axis=1, dtype=soft.dtype)  # [B, M, N]
    return hard - jax.lax.stop_gradient(soft) + soft if train else hard


class GroupingBlock(nnx.Module):
    """Updates group tokens from video tokens and returns the affinities. Video tokens are unchanged."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        assignment: str,
        mlp_ratio: float,
        activation: str,
        epsilon: float,
        attention: str,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.assignment, self.dtype = assignment, dtype

        def norm() -> LayerNorm:
            return LayerNorm(width, epsilon=epsilon, rngs=rngs)

        def linear() -> Linear:
            return Linear(width, width, ("embed", None), dtype=dtype, rngs=rngs)

        def mlp() -> MLP:
            return MLP(width, mlp_ratio, activation, dtype=dtype, rngs=rngs)

        self.video_norm, self.cross_norm, self.assign_norm = norm(), norm(), norm()
        self.cross_mlp_norm, self.update_mlp_norm = norm(), norm()
        self.cross_attention = Attention(width, heads, implementation=attention, dtype=dtype, rngs=rngs)
        self.cross_mlp, self.update_mlp = mlp(), mlp()
        self.query, self.key, self.value, self.out = linear(), linear(), linear(), linear()

    def __call__(
        self,
        groups: Float[Array, "B M D"],
        tokens: Float[Array, "B N D"],
        *,
        train: bool,
        rng: jax.Array | None = None,
    ) -> tuple[Float[Array, "B M D"], Float32[Array, "B M N"]]:
        """groups [B, M, D], tokens [B, N, D] -> new groups [B, M, D], logits float32 [B, M, N]."""
        x = self.video_norm(tokens)
        groups = groups + self.cross_attention(self.cross_norm(groups), context=x)
        groups = groups + self.cross_mlp(self.cross_mlp_norm(groups))

        query, key = self.query(self.assign_norm(groups)), self.key(x)
        logits = jnp.einsum("bmd,bnd->bmn", query, key, preferred_element_type=jnp.float32)
        logits = logits * groups.shape[-1] ** -0.5  # [B, M, N]
        weights = assign(logits, self.assignment, train=train, rng=rng)
        # Mean over the tokens of each group; the 1 keeps a group without tokens finite (docs/method.md, 1.1, step 4).
        update = jnp.einsum("bmn,bnd->bmd", weights.astype(self.dtype), self.value(x))
        update = update / (weights.sum(axis=2, keepdims=True) + 1).astype(self.dtype)

        groups = groups + self.out(update)
        groups = groups + self.update_mlp(self.update_mlp_norm(groups))
        return groups, logits
