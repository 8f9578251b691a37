"""Text tower: BERT's encoder, identical in architecture so that public weights can be loaded (docs/method.md, 1.2)."""

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Float32, Int

from svilm_jax.config import TextConfig
from svilm_jax.models.transformer import LayerNorm, TransformerStack
from svilm_jax.models.variants import Size
from svilm_jax.parallel import constrain


class TextTower(nnx.Module):
    """Token, position and segment embeddings, a layer norm, post-norm layers.

    The sentence vector is the output of the first token, or the mean over all real tokens, as in sentence encoders.
    BERT's pooler is omitted: the sentence vector goes directly to the projection into the joint space.
    """

    def __init__(
        self,
        config: TextConfig,
        size: Size,
        vocab_size: int,
        *,
        attention: str,
        remat: str,
        unroll: int,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.dtype, self.pool = dtype, config.pool

        def table(rows: int, axis: str | None) -> nnx.Param:
            values = nnx.initializers.normal(0.02)(rngs.params(), (rows, size.hidden_size))
            return nnx.Param(values, axes=(axis, "embed"))

        self.token_embedding = table(vocab_size, "vocab")
        self.position_embedding = table(config.max_positions, None)
        self.segment_embedding = table(2, None)
        self.embedding_norm = LayerNorm(size.hidden_size, epsilon=config.norm_epsilon, rngs=rngs)
        self.layers = TransformerStack(
            size.num_layers,
            remat=remat,
            unroll=unroll,
            width=size.hidden_size,
            heads=size.num_heads,
            mlp_ratio=config.mlp_ratio,
            activation=config.activation,
            pre_norm=False,
            epsilon=config.norm_epsilon,
            attention=attention,
            axes=("rows", None),
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(self, tokens: Int[Array, "N L"], mask: Bool[Array, "N L"]) -> Float32[Array, "N D"]:
        """tokens int32 [N, L], mask bool [N, L] (False at padding) -> sentence vectors float32 [N, D]."""
        x = self.tokens(tokens, mask)
        if self.pool == "cls":
            return x[:, 0].astype(jnp.float32)
        real = jnp.asarray(mask).at[:, 0].set(True)[..., None]  # consistent with the attention mask
        return jnp.where(real, x.astype(jnp.float32), 0).sum(axis=1) / real.sum(axis=1)

    def tokens(self, tokens: Int[Array, "N L"], mask: Bool[Array, "N L"]) -> Float[Array, "N L D"]:
        """Returns all outputs of the last layer: [N, L, D]."""
        x = self.token_embedding[...][tokens] + self.position_embedding[...][: tokens.shape[1]]
        x = x + self.segment_embedding[...][0]  # one sentence: always the first segment
        x = constrain(self.embedding_norm(x).astype(self.dtype), "rows", None, None)  # [N, L, D]
        # A row of padding alone (a masked phrase) still needs a key to attend to, or its softmax would be empty.
        mask = jnp.asarray(mask).at[:, 0].set(True)
        return self.layers(x, mask)
