"""What do the towers return? One frozen pytree each, which objectives, evaluators and reports read."""

import dataclasses

import jax


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class VideoOutputs:
    """What the video tower knows of a batch of clips.

    Attributes:
      tokens: [B, Nt, Ns, D] final video tokens by time index and position.
      group_tokens: [B, M, D] final group tokens.
      logits: one [B, M, Nt, h, w] float32 array a grouping block, the affinity of every group to every token.
      assignments: the same shapes, softmax of `logits` over the groups (always soft, whatever training uses).
      embedding: [B, C] clip embedding, L2-normalised, float32.
      group_embedding: [B, M, C] group embeddings, L2-normalised, float32.
    """

    tokens: jax.Array
    group_tokens: jax.Array
    logits: tuple[jax.Array, ...]
    assignments: tuple[jax.Array, ...]
    embedding: jax.Array
    group_embedding: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Outputs:
    """What the whole model knows of a batch: input to every objective.

    Attributes:
      video: see `VideoOutputs`.
      text_embedding: [B, C] caption embeddings, L2-normalised, float32.
      noun_embedding: [B, K, C] embeddings of the prompted noun phrases, L2-normalised, float32; rows whose
        `noun_mask` is False hold the embedding of padding and must not be read.
      logit_scale: scalar, 1/temperature of the global contrast, already clamped.
    """

    video: VideoOutputs
    text_embedding: jax.Array
    noun_embedding: jax.Array
    logit_scale: jax.Array
