"""Multi-level video-text alignment of whole videos and of segments (docs/method.md, 2).

From the abstract of arXiv 2204.10938 [P]: contrastive losses at the global and the segment level, in addition to the
task loss. The construction is ours [C]: segment a of a video is the part that sentence a describes; the targets of
the segment-level contrast are graded by the temporal overlap of segments.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32

from svilm_jax.config.constraints import Positive, PositiveOrZero
from svilm_jax.config.grades import Chosen
from svilm_jax.input.sentences import SentenceFacts
from svilm_jax.models.normalization import normalize
from svilm_jax.models.outputs import Outputs
from svilm_jax.objectives.contrast import info_nce, masked_mean
from svilm_jax.objectives.requirements import CLIPS, TIME_EMBEDDINGS, TIMED_SENTENCES
from svilm_jax.parallel import MASK_VALUE, constrain

SHORTEST = 1e-3  # assumed length of a zero-length sentence, as a fraction of the window


def segment_spans(
    spans: Float[Array, "B S 2"], mask: Bool[Array, "B S"]
) -> tuple[Float32[Array, "B S 2"], Bool[Array, " B"]]:
    """Returns the segment of each sentence, and which videos have real times.

    Args:
      spans: float32 [B, S, 2], fractions of the window, negative where a sentence has no times.
      mask: bool [B, S], the sentences that exist.

    Returns:
      float32 [B, S, 2] with 0 <= start < end <= 1: the annotated times; in a video that lacks any of them, equal
      windows in the order of the sentences. And bool [B], True where the times are annotated.
    """
    timed = jnp.where(mask, (spans >= 0).all(axis=-1), True).all(axis=1)  # [B]
    count = jnp.maximum(mask.sum(axis=1, keepdims=True), 1)  # [B, 1]
    place = jnp.cumsum(mask, axis=1) - 1  # [B, S]
    equal = jnp.stack([place / count, (place + 1) / count], axis=-1)
    chosen = jnp.where(timed[:, None, None], spans, equal).astype(jnp.float32)
    start = jnp.clip(chosen[..., 0], 0, 1 - SHORTEST)
    end = jnp.clip(chosen[..., 1], start + SHORTEST, 1)
    return jnp.stack([start, end], axis=-1), timed


def graded_targets(
    spans: Float32[Array, "B S 2"], timed: Bool[Array, " B"], mask: Bool[Array, "B S"], width: float
) -> Float32[Array, "B S S"]:
    """Computes how well sentence b matches segment a of the same video, float32 [B, S, S] in [0, 1].

    With times: the temporal IoU of both spans. Without: a soft monotone alignment, exp(-(distance / width)² / 2) of
    the positions in the order of the sentences. Rows and columns that do not exist are 0.
    """
    start, end = spans[..., 0], spans[..., 1]  # [B, S]
    together = jnp.minimum(end[:, :, None], end[:, None]) - jnp.maximum(start[:, :, None], start[:, None])
    together = jnp.maximum(together, 0)  # [B, S, S]
    either = (end - start)[:, :, None] + (end - start)[:, None] - together
    place = jnp.cumsum(mask, axis=1).astype(jnp.float32)
    near = jnp.exp(-(((place[:, :, None] - place[:, None]) / width) ** 2) / 2)
    grade = jnp.where(timed[:, None, None], together / either, near)
    return jnp.where(mask[:, :, None] & mask[:, None], grade, 0)


def segment_weights(spans: Float32[Array, "B S 2"], times: int) -> Float32[Array, "B S {times}"]:
    """Returns the fraction of each temporal index inside a span, float32 [B, S, Nt]."""
    edges = jnp.arange(times) / times
    inside = jnp.minimum(spans[..., 1:], edges + 1 / times) - jnp.maximum(spans[..., :1], edges)
    return times * jnp.maximum(inside, 0)


def graded_contrast(
    scores: Float32[Array, "B S B S"],
    targets: Float32[Array, "B S S"],
    exists: Bool[Array, "B S"],
    hard_negative_weight: float,
) -> Float32[Array, ""]:
    """Computes the mean cross-entropy of rows, over all columns of the batch, with graded targets.

    Args:
      scores: float32 [B, S, B, S], row (i, a) against column (j, b), divided by the temperature.
      targets: float32 [B, S, S] of columns in the same video; columns of other videos are negatives.
      exists: bool [B, S], of rows and columns alike.
      hard_negative_weight: weight of a negative column in the same video, relative to other negatives.

    Returns:
      scalar: the mean over rows of -Σ q log p, where q are the targets normalized to a sum of one.
    """
    batch, count = exists.shape
    same = jnp.eye(batch, dtype=bool)[:, None, :, None]  # [B, 1, B, 1]
    grade = jnp.where(same, targets[:, :, None, :], 0)  # [B, S, B, S]
    hard = same & (grade == 0)
    scores = jnp.where(hard, scores + jnp.log(hard_negative_weight), scores)  # not a product: the weight may be 0
    scores = jnp.where(exists[None, None], scores, MASK_VALUE).reshape(batch, count, -1)
    grade = jnp.where(exists[None, None], grade, 0).reshape(batch, count, -1)
    log_p = jax.nn.log_softmax(scores, axis=-1)
    q = grade / jnp.maximum(grade.sum(axis=-1, keepdims=True), 1e-6)
    loss = -jnp.where(q > 0, q * log_p, 0).sum(axis=-1)  # [B, S]
    return masked_mean(loss, exists)


@dataclasses.dataclass(frozen=True)
class MultilevelAlignment:
    """λ_g · L_global + λ_s · L_segment.

    Attributes:
      weight: weight of both together.
      global_weight: λ_g; 0 disables that level.
      segment_weight: λ_s; 0 disables that level.
      hard_negative_weight: weight of a non-overlapping segment of the same video; 1: like any other negative.
      monotone_width: width of the alignment without times, in sentences.
      targets: of the segment level. `graded` by the overlap of segments; `one_hot`: only the segment's own sentence.
    """

    weight: Chosen[PositiveOrZero] = 1.0
    global_weight: Chosen[PositiveOrZero] = 1.0
    segment_weight: Chosen[PositiveOrZero] = 1.0
    hard_negative_weight: Chosen[PositiveOrZero] = 2.0
    monotone_width: Chosen[Positive] = 0.5
    targets: Chosen[Literal["graded", "one_hot"]] = "graded"

    NEEDS = (CLIPS, TIMED_SENTENCES, TIME_EMBEDDINGS)
    READS = ("video.embedding", "video.time_embedding", "sentence_embedding")
    SPANS_BATCH = True

    def __post_init__(self) -> None:
        if not self.global_weight + self.segment_weight:
            raise ValueError("global_weight and segment_weight are both 0, which disables the objective")

    def problem_with(self, facts: SentenceFacts) -> str:
        """Returns why a dataset cannot be aligned at the levels with a weight; "" if it can."""
        if not facts.described:
            lacks = "questions" if facts.source == "question" else "captions"
            advice = "" if facts.source == "question" else "; for question answering: config.input.sentences='question'"
            return f"none of {facts.records} records of the dataset has {lacks}, so that nothing is aligned{advice}"
        if self.segment_weight and not facts.timed and not facts.in_parts:
            return (
                f"segment_weight={self.segment_weight:g} needs sentences with times, or captions of several clauses "
                f"(config.input.sentences='clauses'); none of {facts.records} records of the dataset has them, and "
                "the segment level would repeat the global one: set segment_weight=0"
            )
        return ""

    def __call__(
        self, outputs: Outputs, batch: dict[str, jax.Array], rng: jax.Array
    ) -> tuple[Float32[Array, ""], dict[str, Float32[Array, ""]]]:
        """Both levels, each the mean of both directions; metrics `global`, `segment` and `segment_accuracy`.

        The embedding of the whole text is the mean of its sentences' embeddings. A segment that was mostly replaced by
        another clip in a splice does not count.
        """
        time, sentences = outputs.video.time_embedding, outputs.sentence_embedding
        assert time is not None  # the registry requires both
        assert sentences is not None
        mask = batch["sentence_mask"] & batch["valid"][:, None]  # [B, S]
        whole = normalize(jnp.where(mask[..., None], sentences, 0).sum(axis=1))  # [B, C]
        scale, described = outputs.logit_scale, mask.any(axis=1)
        similarity = jnp.einsum("ic,jc->ij", outputs.video.embedding, constrain(whole, None, None))  # [B, B]
        across, down = info_nce(scale * similarity, described, described)
        global_loss = (across + down) / 2

        spans, timed = segment_spans(batch["sentence_spans"], mask)
        weights = segment_weights(spans, time.shape[1])  # [B, S, Nt]
        if "splice_mask" in batch:
            own = weights * batch["splice_mask"][:, None]
            mask = mask & (own.sum(axis=-1) > 0.5 * weights.sum(axis=-1))
            weights = own
        segments = normalize(jnp.einsum("bsn,bnc->bsc", weights, time))  # [B, S, C]
        if self.targets == "graded":
            targets = graded_targets(spans, timed, mask, self.monotone_width)
        else:
            targets = jnp.eye(mask.shape[1]) * mask[..., None]  # [B, S, S]
        everywhere = constrain(sentences, None, None, None)
        scores = scale * jnp.einsum("iac,jbc->iajb", segments, everywhere)  # [B, S, B, S]
        back = scores.transpose(2, 3, 0, 1)
        hard = self.hard_negative_weight
        segment_loss = (graded_contrast(scores, targets, mask, hard) + graded_contrast(back, targets, mask, hard)) / 2
        rows, count = mask.shape
        best = jnp.argmax(jnp.where(mask[None, None], scores, MASK_VALUE).reshape(rows, count, -1), axis=-1)
        hit = best == jnp.arange(rows * count).reshape(rows, count)
        loss = self.global_weight * global_loss + self.segment_weight * segment_loss
        metrics = {"global": global_loss, "segment": segment_loss}
        return loss, metrics | {"segment_accuracy": masked_mean(hit.astype(jnp.float32), mask)}
