"""Outputs of the models: one frozen pytree each, read by objectives, evaluators and reports.

Annotated shapes are those of a model's result. Transformations build the same classes with other leaves: stacked parts
of a batch, shardings, None for fields that nobody reads.
"""

import dataclasses
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32

REGRESSION, CLASSIFICATION = 0, 1  # indices of the maps in `LocalizationOutputs.scores`


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class VideoOutputs:
    """Outputs of the video tower for a batch of clips.

    Attributes:
      tokens: [B, Nt, Ns, D] final video tokens by temporal index and position.
      group_tokens: [B, M, D] final group tokens.
      logits: one [B, M, Nt, h, w] float32 array per grouping block, the affinity of every group to every token.
      assignments: the same shapes, softmax of `logits` over the groups (always soft, whatever training uses).
      embedding: [B, C] clip embedding, L2-normalized, float32.
      group_embedding: [B, M, C] group embeddings, L2-normalized, float32.
      time_embedding: [B, Nt, C] the mean of the tokens of each temporal index in the joint space, float32, not
        normalized: `embedding` is the normalized mean of them over time. None where `clip_pool` is not `tokens`.
    """

    tokens: Float[Array, "B Nt Ns D"]
    group_tokens: Float[Array, "B M D"]
    logits: tuple[Float32[Array, "B M Nt h w"], ...]
    assignments: tuple[Float32[Array, "B M Nt h w"], ...]
    embedding: Float32[Array, "B C"]
    group_embedding: Float32[Array, "B M C"]
    time_embedding: Float32[Array, "B Nt C"] | None = None

    @property
    def time_tokens(self) -> Float32[Array, "B Nt D"]:
        """z_j, the mean of the tokens over positions, float32 [B, Nt, D] (docs/method.md, 1.3, step 3)."""
        return self.tokens.astype(jnp.float32).mean(axis=2)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Outputs:
    """Outputs of the whole model for a batch: input of every objective.

    Attributes:
      video: see `VideoOutputs`.
      text_embedding: [B, C] caption embeddings, L2-normalized, float32.
      noun_embedding: [B, K, C] embeddings of the prompted noun phrases, L2-normalized, float32; rows whose
        `noun_mask` is False hold the embedding of padding and must not be read.
      logit_scale: scalar, 1/temperature of the global contrast.
      sentence_embedding: [B, S, C] embeddings of the timed sentences, L2-normalized, float32; rows whose
        `sentence_mask` is False must not be read.
      scores: float32 [B, classes] logits of the task head.

    Fields for which a batch has no input are None: `noun_embedding` without phrases, `scores` without a head.
    """

    video: VideoOutputs
    logit_scale: Float32[Array, ""]
    text_embedding: Float32[Array, "B C"] | None = None
    noun_embedding: Float32[Array, "B K C"] | None = None
    sentence_embedding: Float32[Array, "B S C"] | None = None
    scores: Float32[Array, "B classes"] | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LocalizationOutputs:
    """Outputs of the head for a batch of videos; all are float32 logits of a sigmoid, except `classes`, of a softmax.

    Attributes:
      start: [B, T], a segment starts at t · duration / T.
      end: [B, T], a segment ends at (t + 1) · duration / T.
      scores: [B, 2, T (start), T (duration)]: `REGRESSION`, the tIoU of the anchor with the nearest true segment, and
        `CLASSIFICATION`, whether that tIoU is above 0.9. `MASK_VALUE` outside `valid`.
      valid: bool [B, T (start), T (duration)], anchors that lie inside the video.
      classes: [B, T, C + 1], action classes per step, background last; None if an external classifier provides them.
    """

    start: Float32[Array, "B T"]
    end: Float32[Array, "B T"]
    scores: Float32[Array, "B 2 T T"]
    valid: Bool[Array, "B T T"]
    classes: Float32[Array, "B T C"] | None


# Fields that are always kept.
_ALWAYS = ("logit_scale",)


def keep_only(outputs: Any, names: Collection[str]) -> Any:
    """Returns the outputs with all fields removed that nobody reads, to hold them in less memory.

    Args:
      outputs: `Outputs`; those of another model are returned unchanged.
      names: fields of `Outputs`, and of its video as `video.NAME`. `video.time_tokens` keeps only the means of the
        tokens over positions, [B, Nt, 1, D] float32; everything that is not named becomes None.
    """
    if not isinstance(outputs, Outputs):
        return outputs
    video = outputs.video
    own: dict[str, Any] = {f.name: None for f in dataclasses.fields(video) if f"video.{f.name}" not in names}
    if "tokens" in own and "video.time_tokens" in names:
        own["tokens"] = video.time_tokens[:, :, None]
    others: dict[str, Any] = {
        f.name: None for f in dataclasses.fields(outputs) if f.name not in (*names, "video", *_ALWAYS)
    }
    return dataclasses.replace(outputs, video=dataclasses.replace(video, **own), **others)
