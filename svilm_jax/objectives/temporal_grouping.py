"""Intra-clip temporal grouping objective: separates foreground from background of spliced clips (docs/method.md, 1.3).

The literal formula (`centers="all"`) can be minimized without looking at the clip. Every z_j is part of the center
that it is compared with: tokens that encode only their temporal index, orthogonal to each other, have a cosine of 1/√n
to their own center of n members and 0 to the other. With `centers="others"` z_j is excluded from its own center:
orthogonal tokens gain nothing, but smooth ones still reach an accuracy of 0.907 with 16 indices. In both cases clips
need at least five temporal indices: with three or four only one duration can be drawn, the middle indices are always
foreground, and opposite vectors for the first and the last index fit every mask. Even with five the index carries much
information: one constant span, (1, 4), is right about 76 % of the indices, and a model that is rewarded for it learns
just that (experiments/README.md). With `centered` the mean over all clips of the batch at each temporal index is
subtracted first: tokens that encode only their index become zero, and gain nothing.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32

from svilm_jax.config.constraints import PositiveOrZero, Temperature
from svilm_jax.config.grades import Chosen, Stated
from svilm_jax.models.normalization import normalize
from svilm_jax.models.outputs import Outputs
from svilm_jax.objectives.contrast import masked_mean
from svilm_jax.objectives.requirements import CLIPS, SPLICES, TIME_EMBEDDINGS, Requirement


def common_tokens(z: Float32[Array, "B Nt D"], valid: Bool[Array, " B"]) -> Float32[Array, "Nt D"]:
    """Returns the mean of z_j over the valid clips of the global batch, float32 [Nt, D], for z [B, Nt, D]."""
    return jnp.where(valid[:, None, None], z, 0).sum(axis=0) / jnp.maximum(valid.sum(), 1)


def foreground_probability(
    z: Float32[Array, "B Nt D"],
    mask: Bool[Array, "B Nt"],
    temperature: float,
    centers: str = "all",
    common: Float32[Array, "Nt D"] | None = None,
) -> Float32[Array, "B Nt"]:
    """Computes the probability that each temporal index belongs to the foreground.

    z^f and z^b are the means of z_j inside and outside the mask;
    a_j = softmax([cos(z_j, z^b), cos(z_j, z^f)] / τ).

    Args:
      z: float32 [B, Nt, D], z_j is the mean of the tokens at temporal index j.
      mask: bool [B, Nt], True at the foreground.
      temperature: τ.
      centers: `all`, the literal formula; `others`, z_j is excluded from the center of its own side, so that it is
        compared with other temporal indices only. A side without others has no center, and similarity 0.
      common: [Nt, D], subtracted from z before anything else; None: nothing is subtracted.

    Returns:
      float32 [B, Nt], the second entry of a_j.
    """
    if common is not None:
        z = z - common

    def similarity(side: jax.Array) -> jax.Array:
        """cos(z_j, center of the side) [B, Nt]."""
        weights = side.astype(jnp.float32)[..., None]  # [B, Nt, 1]
        total, count = (z * weights).sum(axis=1, keepdims=True), weights.sum(axis=1, keepdims=True)
        if centers == "others":
            total, count = total - z * weights, count - weights
            total = jnp.where(count > 0, total, 0)  # not the rounding error of z_j - z_j
        return (normalize(z) * normalize(total / jnp.maximum(count, 1))).sum(axis=-1)

    return jax.nn.sigmoid((similarity(mask) - similarity(~mask)) / temperature)


@dataclasses.dataclass(frozen=True)
class TemporalGrouping:
    """Distance of a_j from the mask.

    Attributes:
      weight: ω1 [P: 1].
      temperature: τ [C].
      loss: `mse` [P] or `bce` [A: reported comparable].
      centers: `all` [P] or `others` [C], see `foreground_probability`.
      centered: whether the mean over the batch is subtracted from every z_j first [C].
      read: what z_j is: `tokens`, the mean of the final video tokens [P]; `embedding`, the same after the projection of
        the global contrast [C], which needs `model.clip_pool=tokens`.
    """

    weight: Stated[PositiveOrZero] = 1.0
    temperature: Chosen[Temperature] = 0.1
    loss: Stated[Literal["mse", "bce"]] = "mse"
    centers: Stated[Literal["all", "others"]] = "all"
    centered: Chosen[bool] = False
    read: Stated[Literal["tokens", "embedding"]] = "tokens"

    @property
    def NEEDS(self) -> tuple[Requirement, ...]:
        """The inputs that the rest of the config has to provide."""
        return (CLIPS, SPLICES) if self.read == "tokens" else (CLIPS, SPLICES, TIME_EMBEDDINGS)

    @property
    def READS(self) -> tuple[str, ...]:
        """The fields of the outputs that it reads."""
        return ("video.time_tokens",) if self.read == "tokens" else ("video.time_embedding",)

    @property
    def SPANS_BATCH(self) -> bool:
        """Only the subtracted mean depends on the whole batch."""
        return self.centered

    def __call__(
        self, outputs: Outputs, batch: dict[str, jax.Array], rng: jax.Array
    ) -> tuple[Float32[Array, ""], dict[str, Float32[Array, ""]]]:
        """Returns the loss over spliced rows, and metrics.

        `accuracy`: fraction of the temporal indices of spliced clips that are nearer to the center of their own side.
        `accuracy_index_only`: the same for clips that stay whole, with the spans that were drawn for them. Nothing in
        such a clip tells its span from the rest, so this is what the temporal index alone earns; -1 if there are none.
        """
        mask, spliced = batch["splice_mask"], batch["spliced"]
        z = outputs.video.time_tokens
        if self.read == "embedding":
            assert outputs.video.time_embedding is not None  # the registry requires it
            z = outputs.video.time_embedding
        common = common_tokens(z, batch["valid"]) if self.centered else None
        foreground = foreground_probability(z, mask, self.temperature, self.centers, common)
        target = mask.astype(jnp.float32)
        if self.loss == "mse":
            # Both entries of a_j have the same error: the mean of the squares is the square of one.
            error = (foreground - target) ** 2
        else:
            likely = jnp.where(mask, foreground, 1 - foreground)
            error = -jnp.log(jnp.maximum(likely, 1e-12))
        per_clip, hits = error.mean(axis=1), ((foreground > 0.5) == mask).astype(jnp.float32).mean(axis=1)
        metrics = {"accuracy": masked_mean(hits, spliced)}
        if "splice_span" in batch:
            span, whole = batch["splice_span"], batch["valid"] & ~spliced
            guess = foreground_probability(z, span, self.temperature, self.centers, common) > 0.5
            by_index = masked_mean((guess == span).astype(jnp.float32).mean(axis=1), whole)
            metrics["accuracy_index_only"] = jnp.where(whole.any(), jax.lax.stop_gradient(by_index), -1.0)
        return masked_mean(per_clip, spliced), metrics
