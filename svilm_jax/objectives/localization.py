"""Losses of G-TAD and of its classification branch (docs/method.md, 1.7).

L = BCE(start) + BCE(end) + 10 · MSE(tIoU) + BCE(tIoU > 0.9) [P: BMN, arXiv 1907.09702, section 4; G-TAD] + CE(class)
[C]. "Balanced" means two things in the authors' code [A]. A balanced BCE weights the n⁺ positives by n / 2n⁺ and the n⁻
negatives by n / 2n⁻, which equals half of the mean over the positives plus half of that over the negatives; it is
implemented in that form, and an empty side contributes nothing. The balanced MSE samples as many anchors of medium and
of low tIoU as there are of high tIoU; here each anchor is weighted by its sampling probability instead: the same in
expectation, without the sampling noise.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int

from svilm_jax.config.constraints import Decay, PositiveOrZero
from svilm_jax.config.grades import Attributed, Chosen, Stated
from svilm_jax.models.outputs import CLASSIFICATION, REGRESSION, LocalizationOutputs
from svilm_jax.objectives.contrast import masked_mean
from svilm_jax.objectives.requirements import FEATURES


def balanced_bce(
    logits: Float[Array, "*shape"], positive: Bool[Array, "*shape"], counted: Bool[Array, "*shape"]
) -> Float32[Array, ""]:
    """Returns (mean over positives of -log p + mean over negatives of -log(1 - p)) / 2, with p = sigmoid(logits).

    Args:
      logits: float [...].
      positive: bool [...].
      counted: bool [...], elements that exist.

    Returns:
      float32 scalar; a mean over no elements is 0.
    """
    logits = logits.astype(jnp.float32)
    right = masked_mean(jax.nn.softplus(-logits), counted & positive)
    wrong = masked_mean(jax.nn.softplus(logits), counted & ~positive)
    return (right + wrong) / 2


def regression_weights(
    iou: Float32[Array, "*shape"], counted: Bool[Array, "*shape"], high: float, low: float
) -> Float32[Array, "*shape"]:
    """Computes the weight of each anchor in the balanced MSE.

    1 for tIoU > high; for low < tIoU <= high the fraction that would be sampled to have as many as high ones, at most
    1; likewise for 0 < tIoU <= low. Anchors that touch no segment do not count at all [A]. If no anchor is high, one
    anchor is sampled: the authors' 0/0 there is not a number [C].

    Args:
      iou: float32 [...].
      counted: bool [...].
      high: lower threshold of anchors of high tIoU.
      low: lower threshold of anchors of medium tIoU.

    Returns:
      float32 [...].
    """
    top = counted & (iou > high)
    middle = counted & (iou <= high) & (iou > low)
    bottom = counted & (iou <= low) & (iou > 0)
    draws = jnp.maximum(top.sum(), 1)

    def drawn(members: jax.Array) -> jax.Array:
        return jnp.where(members, jnp.minimum(draws / jnp.maximum(members.sum(), 1), 1.0), 0.0)

    return top + drawn(middle) + drawn(bottom)


def balanced_mse(
    probability: Float[Array, "*shape"], iou: Float[Array, "*shape"], weights: Float[Array, "*shape"]
) -> Float32[Array, ""]:
    """Returns half of the weighted mean squared difference [A: the half is in the authors' code, before their 10]."""
    error = weights * (probability - iou) ** 2
    total = weights.sum()
    return 0.5 * error.sum() / jnp.where(total > 0, total, 1)


@dataclasses.dataclass(frozen=True)
class Localization:
    """The sum of the five losses, over the whole batch at once, since the counts of positives are.

    The batch has `valid` bool [B], `start` and `end` float32 [B, T], `iou` float32 [B, T (start), T (duration)] and
    `step_class` int32 [B, T] (-1 at background), the latter four from `svilm_jax/input/segments.py`.

    Attributes:
      weight: weight of the loss in the sum [C].
      regression: weight of the balanced MSE [P: 10].
      classes: weight of the cross-entropy of the classification branch, in which background is a class [C].
      boundary: a bin is a boundary if more than this fraction of it lies in a true region [A: 0.5].
      fits: tIoU above which an anchor is a positive of the classification map [P: 0.9].
      high, low: thresholds between anchors of high, medium and low tIoU [P: 0.7, 0.3].
    """

    weight: Chosen[PositiveOrZero] = 1.0
    regression: Stated[PositiveOrZero] = 10.0
    classes: Chosen[PositiveOrZero] = 1.0
    boundary: Attributed[Decay] = 0.5
    fits: Stated[Decay] = 0.9
    high: Stated[Decay] = 0.7
    low: Stated[Decay] = 0.3

    NEEDS = (FEATURES,)
    READS: ClassVar[tuple[str, ...]] = ()  # its outputs are kept whole
    SPANS_BATCH = False

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low={self.low:g}: expected at most config.objectives.localization.high={self.high:g}")

    def __call__(
        self, outputs: LocalizationOutputs, batch: dict[str, jax.Array], rng: jax.Array
    ) -> tuple[Float32[Array, ""], dict[str, Float32[Array, ""]]]:
        """Returns the loss and metrics.

        The metrics are its unweighted parts, and `step_accuracy`, the fraction of steps that the classification branch
        labels correctly, including background (0 without the branch).
        """
        rows, inside = batch["valid"], outputs.valid & batch["valid"][:, None, None]
        steps = jnp.broadcast_to(rows[:, None], outputs.start.shape)
        start = balanced_bce(outputs.start, batch["start"] > self.boundary, steps)
        end = balanced_bce(outputs.end, batch["end"] > self.boundary, steps)

        iou = batch["iou"].astype(jnp.float32)
        weights = regression_weights(iou, inside, self.high, self.low)
        error = balanced_mse(jax.nn.sigmoid(outputs.scores[:, REGRESSION].astype(jnp.float32)), iou, weights)
        fit = balanced_bce(outputs.scores[:, CLASSIFICATION], iou > self.fits, inside)

        named, hit = self._classes(outputs, batch["step_class"], steps)
        loss = start + end + self.regression * error + fit + self.classes * named
        metrics = {"start": start, "end": end, "regression": error, "classification": fit, "class": named}
        return loss, {**metrics, "step_accuracy": hit}

    @staticmethod
    def _classes(
        outputs: LocalizationOutputs, truth: Int[Array, "B T"], steps: Bool[Array, "B T"]
    ) -> tuple[Float32[Array, ""], Float32[Array, ""]]:
        """Computes the mean cross-entropy and accuracy over steps [B, T]."""
        if outputs.classes is None:
            return jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32)
        logits = outputs.classes.astype(jnp.float32)  # [B, T, C + 1]
        truth = jnp.where(truth >= 0, truth, logits.shape[-1] - 1)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), truth[..., None], axis=-1)[..., 0]  # [B, T]
        hit = (jnp.argmax(logits, axis=-1) == truth).astype(jnp.float32)
        return masked_mean(-chosen, steps), masked_mean(hit, steps)
