"""Transformer layers, pre-norm for video and post-norm (BERT) for text, stacked and scanned."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from svilm_jax.models.attention import Attention, Axes
from svilm_jax.models.linear import Linear
from svilm_jax.parallel import constrain

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
}

# What is stored for the backward pass: everything, matrix products only, or only the layer's input.
REMAT_POLICIES = {
    "none": None,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}


class LayerNorm(nnx.LayerNorm):
    """Layer norm computed in float32, returned in the dtype of its input."""

    def __init__(self, width: int, *, epsilon: float, rngs: nnx.Rngs):
        metadata = {"axes": ("norm",)}
        super().__init__(
            width,
            epsilon=epsilon,
            dtype=jnp.float32,
            use_fast_variance=False,  # E[x²] - E[x]² loses precision when tokens share a large mean
            scale_metadata=metadata,
            bias_metadata=metadata,
            rngs=rngs,
        )

    def __call__(self, x: Float[Array, "*batch D"], *, mask: jax.Array | None = None) -> Float[Array, "*batch D"]:
        """Normalizes the last axis in float32; the result has the dtype of x."""
        return super().__call__(x, mask=mask).astype(x.dtype)


class MLP(nnx.Module):
    """Two linear layers with an activation in between."""

    def __init__(self, width: int, ratio: float, activation: str, *, dtype: DTypeLike, rngs: nnx.Rngs):
        hidden = int(width * ratio)
        self.activation = activation
        self.up = Linear(width, hidden, ("embed", "mlp"), dtype=dtype, rngs=rngs)
        self.down = Linear(hidden, width, ("mlp", "embed"), dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Applies both layers to the last axis."""
        return self.down(ACTIVATIONS[self.activation](self.up(x)))


class TransformerBlock(nnx.Module):
    """Self-attention and an MLP, each with a residual: norms before them (`pre_norm`) or after the sum (BERT).

    `axes` are the logical names of the axes of sequences and of tokens (`svilm_jax/parallel/sharding.py`).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        mlp_ratio: float,
        activation: str,
        pre_norm: bool,
        epsilon: float,
        attention: str,
        axes: Axes = ("batch", None),
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.pre_norm, self.axes = pre_norm, axes
        self.attention_norm = LayerNorm(width, epsilon=epsilon, rngs=rngs)
        self.attention = Attention(width, heads, implementation=attention, axes=axes, dtype=dtype, rngs=rngs)
        self.mlp_norm = LayerNorm(width, epsilon=epsilon, rngs=rngs)
        self.mlp = MLP(width, mlp_ratio, activation, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "B N D"], mask: Bool[Array, "B N"] | None = None) -> Float[Array, "B N D"]:
        """x [B, N, D], mask bool [B, N] of the tokens that may be attended to -> [B, N, D]."""
        if self.pre_norm:
            x = x + self.attention(self.attention_norm(x), mask=mask)
            x = x + self.mlp(self.mlp_norm(x))
        else:
            x = self.attention_norm(x + self.attention(x, mask=mask))
            x = self.mlp_norm(x + self.mlp(x))
        return constrain(x, *self.axes, None)


class TransformerStack(nnx.Module):
    """`count` layers stored as one stacked layer and run by a scan: compile time does not grow with depth."""

    def __init__(self, count: int, *, remat: str, unroll: int, rngs: nnx.Rngs, **layer: Any):
        self.count, self.remat, self.unroll = count, remat, unroll or count

        @nnx.split_rngs(splits=count)
        @nnx.vmap(in_axes=(0,), out_axes=0)
        def stack(rngs: nnx.Rngs) -> TransformerBlock:
            return TransformerBlock(**layer, rngs=rngs)

        self.stacked = stack(rngs)

    def __call__(self, x: Float[Array, "B N D"], mask: Bool[Array, "B N"] | None = None) -> Float[Array, "B N D"]:
        """x [B, N, D], mask bool [B, N] -> [B, N, D]."""

        def step(layer: TransformerBlock, x: jax.Array, mask: jax.Array | None) -> jax.Array:
            return layer(x, mask)

        policy = REMAT_POLICIES[self.remat]
        if policy is not None:
            step = nnx.remat(step, policy=policy)
        scan = nnx.scan(step, in_axes=(0, nnx.Carry, None), out_axes=nnx.Carry, unroll=min(self.unroll, self.count))
        return scan(self.stacked, x, mask)
