"""Inter-clip spatial grounding objective: contrastive alignment of phrases with group tokens (docs/method.md, 1.4)."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Bool, Float, Float32

from svilm_jax.config.constraints import Count, PositiveOrZero, Temperature
from svilm_jax.config.grades import Chosen, Stated
from svilm_jax.models.outputs import Outputs
from svilm_jax.objectives.contrast import Pairing, masked_mean, streamed_info_nce
from svilm_jax.objectives.requirements import CAPTIONS, CLIPS
from svilm_jax.parallel import Exchange


def clip_noun_scores(
    groups: Float[Array, "r M C"],
    nouns: Float[Array, "c K C"],
    phrase_weight: Float32[Array, "c K"],
    temperature: float,
) -> Float32[Array, "r c"]:
    """Computes S(i, j): how well the groups of clip i match the phrases of caption j.

    S(i, j) = mean_k Σ_m softmax_m(s[·, k] / τ) · s[m, k], with s the cosines of groups and phrases: each phrase attends
    to a few groups, and groups that match no phrase are not penalized.

    Args:
      groups: [r, M, C], normalized.
      nouns: [c, K, C], normalized.
      phrase_weight: float32 [c, K], weight of each phrase in the mean (`phrase_weights`).
      temperature: τ.

    Returns:
      float32 [r, c]; columns of captions without a phrase are 0.
    """
    cosine = jnp.einsum("imc,jkc->imjk", groups, nouns, precision="highest")  # [r, M, c, K]
    picked = (jax.nn.softmax(cosine / temperature, axis=1) * cosine).sum(axis=1)  # [r, c, K]
    return (picked * phrase_weight).sum(axis=2)


def phrase_weights(noun_mask: Bool[Array, "B K"]) -> Float32[Array, "B K"]:
    """bool [B, K] -> float32 [B, K]: one over the number of phrases where a phrase exists, else 0."""
    return noun_mask / jnp.maximum(noun_mask.sum(axis=1, keepdims=True), 1)


@dataclasses.dataclass(frozen=True)
class SpatialGrounding:
    """Contrast of S(i, j) over the batch.

    Attributes:
      weight: ω2 [P: 1].
      temperature: τ of the softmax over groups [C].
      contrast_temperature: τ' of the contrast [C].
      reduction: `mean` or `sum` of the two directions [C].
      chunk: number of captions that a device compares its clips with at a time: r x M x chunk x K cosines.
      exchange: how phrases reach the clips on other devices, see `svilm_jax/parallel/chunked_contrastive.py`.
    """

    weight: Stated[PositiveOrZero] = 1.0
    temperature: Chosen[Temperature] = 0.07
    contrast_temperature: Chosen[Temperature] = 0.07
    reduction: Chosen[Literal["mean", "sum"]] = "mean"
    chunk: Chosen[Count] = 64
    exchange: Chosen[Exchange] = "gather"

    NEEDS = (CLIPS, CAPTIONS)
    READS = ("video.group_embedding", "video.logits", "noun_embedding")
    SPANS_BATCH = True

    def __call__(
        self, outputs: Outputs, batch: dict[str, jax.Array], rng: jax.Array
    ) -> tuple[Float32[Array, ""], dict[str, Float32[Array, ""]]]:
        """Returns the loss and metrics.

        The metrics are `accuracy` within the batch, and `groups_used`, the mean number of groups of a clip that win at
        least one token in the last grouping block.
        """
        assert outputs.noun_embedding is not None  # the registry requires captions

        def score(groups: Any, columns: Any) -> jax.Array:
            nouns, phrase_weight = columns
            return clip_noun_scores(groups, nouns, phrase_weight, self.temperature) / self.contrast_temperature

        phrases = (outputs.noun_embedding, phrase_weights(batch["noun_mask"]))
        # A caption without phrases carries no grounding signal: it is excluded as a row and as a column.
        exists = batch["valid"] & batch["noun_mask"].any(axis=1)
        pairing = Pairing(score, outputs.video.group_embedding, phrases, exists, exists)
        across, down, accuracy = streamed_info_nce(pairing, self.chunk, self.exchange)
        loss = (across + down) * (0.5 if self.reduction == "mean" else 1.0)

        logits = outputs.video.logits[-1]  # [B, M, Nt, h, w]
        winners = rearrange(jnp.argmax(logits, axis=1), "b nt h w -> b (nt h w)")
        used = jax.nn.one_hot(winners, logits.shape[1], dtype=jnp.bool_).any(axis=1).sum(axis=1)
        return loss, {"accuracy": accuracy, "groups_used": masked_mean(used.astype(jnp.float32), batch["valid"])}
