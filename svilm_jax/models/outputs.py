"""Outputs of the towers: one frozen pytree each, read by objectives, evaluators and reports."""

import dataclasses
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp


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

    tokens: jax.Array
    group_tokens: jax.Array
    logits: tuple[jax.Array, ...]
    assignments: tuple[jax.Array, ...]
    embedding: jax.Array
    group_embedding: jax.Array
    time_embedding: jax.Array | None = None

    @property
    def time_tokens(self) -> jax.Array:
        """z_j, the mean of the tokens over positions, float32 [B, Nt, D] (METHOD 1.3, step 3)."""
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
      logit_scale: scalar, 1/temperature of the global contrast, already clamped.
      sentence_embedding: [B, S, C] embeddings of the timed sentences, L2-normalized, float32; rows whose
        `sentence_mask` is False must not be read.
      scores: float32 [B, classes] logits of the task head.

    Fields for which a batch has no input are None: `noun_embedding` without phrases, `scores` without a head.
    """

    video: VideoOutputs
    logit_scale: jax.Array
    text_embedding: jax.Array | None = None
    noun_embedding: jax.Array | None = None
    sentence_embedding: jax.Array | None = None
    scores: jax.Array | None = None


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
