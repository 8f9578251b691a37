"""How do video and text meet? Two towers and their projections into one space (METHOD 1)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from svilm_jax.config import Config, ConfigError, ModelConfig, nearest
from svilm_jax.models.linear import Linear
from svilm_jax.models.outputs import Outputs, VideoOutputs
from svilm_jax.models.text_tower import TextTower
from svilm_jax.models.variants import tower_sizes
from svilm_jax.models.video_tower import VideoTower

CLIP_POOLS = ("tokens", "groups", "both")


def normalise(x: jax.Array, epsilon: float = 1e-12) -> jax.Array:
    """x / |x| in float32 over the last axis, with finite gradients at zero, where padded phrases may lie."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.sum(x * x, axis=-1, keepdims=True) + epsilon)


def compute_dtype(config: ModelConfig) -> jnp.dtype:
    """float32 on CPU, bfloat16 elsewhere, unless the config says which."""
    choices = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
    choices["auto"] = choices["float32" if jax.default_backend() == "cpu" else "bfloat16"]
    if config.compute_dtype not in choices:
        raise ConfigError(
            f"config.model.compute_dtype={config.compute_dtype!r}: expected one of {sorted(choices)}"
            f"{nearest(config.compute_dtype, choices)}"
        )
    return jnp.dtype(choices[config.compute_dtype])


class SVILM(nnx.Module):
    """Video tower, text tower, three projections and the temperature of the contrast."""

    def __init__(self, config: ModelConfig, vocab_size: int, *, rngs: nnx.Rngs):
        if config.clip_pool not in CLIP_POOLS:
            raise ConfigError(
                f"config.model.clip_pool={config.clip_pool!r}: expected one of {CLIP_POOLS}"
                f"{nearest(config.clip_pool, CLIP_POOLS)}"
            )
        video_size, text_size = tower_sizes(config)
        shared: dict[str, Any] = {
            "attention": config.attention,
            "remat": config.remat,
            "unroll": config.scan_unroll,
            "dtype": compute_dtype(config),
            "rngs": rngs,
        }
        self.clip_pool, self.max_logit_scale = config.clip_pool, config.max_logit_scale
        self.video_tower = VideoTower(config.video, config.grouping, video_size, **shared)
        self.text_tower = TextTower(config.text, text_size, vocab_size, **shared)

        def projection(width: int) -> Linear:
            # float32: three small products, and what they feed is compared at a temperature of 0.07
            axes = ("embed", "joint")
            return Linear(width, config.embed_dim, axes, use_bias=False, dtype=jnp.dtype(jnp.float32), rngs=rngs)

        self.video_projection = projection(video_size.width * (2 if config.clip_pool == "both" else 1))
        self.group_projection = projection(video_size.width)
        self.text_projection = projection(text_size.width)
        self.log_scale = nnx.Param(jnp.asarray(math.log(1 / config.temperature), jnp.float32), axes=())

    @property
    def logit_scale(self) -> jax.Array:
        """1/τ of the global contrast, clamped."""
        return jnp.exp(jnp.minimum(self.log_scale[...], math.log(self.max_logit_scale)))

    def encode_video(self, video: jax.Array, *, train: bool = False, rng: jax.Array | None = None) -> VideoOutputs:
        """uint8 [B, T, H, W, 3] (or float in [0, 1]) -> `VideoOutputs`."""
        tokens, groups, logits = self.video_tower(video, train=train, rng=rng)
        pools = {"tokens": tokens.mean(axis=(1, 2)), "groups": groups.mean(axis=1)}  # [B, D] each
        pooled = jnp.concatenate(list(pools.values()), -1) if self.clip_pool == "both" else pools[self.clip_pool]
        return VideoOutputs(
            tokens=tokens,
            group_tokens=groups,
            logits=logits,
            assignments=tuple(jax.nn.softmax(a, axis=1) for a in logits),
            embedding=normalise(self.video_projection(pooled)),
            group_embedding=normalise(self.group_projection(groups)),
        )

    def encode_text(self, tokens: jax.Array, mask: jax.Array) -> jax.Array:
        """tokens int32 [N, L], mask bool [N, L] -> float32 [N, C], normalised."""
        return normalise(self.text_projection(self.text_tower(tokens, mask)))

    def __call__(
        self,
        video: jax.Array,
        text: jax.Array,
        text_mask: jax.Array,
        nouns: jax.Array,
        nouns_mask: jax.Array,
        *,
        train: bool = False,
        rng: jax.Array | None = None,
    ) -> Outputs:
        """A whole batch.

        Args:
          video: uint8 [B, T, H, W, 3].
          text, text_mask: int32 and bool [B, L].
          nouns, nouns_mask: int32 and bool [B, K, L'], the prompted phrases and which of their tokens are real.
          train, rng: see `VideoTower`.
        """
        batch, phrases, length = nouns.shape
        noun_embedding = self.encode_text(nouns.reshape(-1, length), nouns_mask.reshape(-1, length))
        return Outputs(
            video=self.encode_video(video, train=train, rng=rng),
            text_embedding=self.encode_text(text, text_mask),
            noun_embedding=noun_embedding.reshape(batch, phrases, -1),
            logit_scale=self.logit_scale,
        )


def build_model(config: Config, vocab_size: int, seed: int | jax.Array = 0) -> SVILM:
    """A freshly initialised model of a config."""
    return SVILM(config.model, vocab_size, rngs=nnx.Rngs(params=seed))
