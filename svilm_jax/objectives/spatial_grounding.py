"""Where in the picture is the noun? Inter-clip spatial grounding (METHOD 1.4)."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from svilm_jax.models.outputs import Outputs
from svilm_jax.objectives.contrast import info_nce, masked_mean
from svilm_jax.parallel import constrain


def clip_noun_scores(
    groups: jax.Array, nouns: jax.Array, noun_mask: jax.Array, temperature: float, chunk: int
) -> jax.Array:
    """S(i, j): how well the groups of clip i hold the phrases of caption j.

    S(i, j) = mean_k Σ_m softmax_m(s[·, k] / τ) · s[m, k], with s the cosines of groups and phrases: each phrase picks a
    few groups, and groups that match no phrase cost nothing.

    Args:
      groups: [B, M, C], normalised.
      nouns: [B, K, C], normalised.
      noun_mask: bool [B, K]; masked phrases are left out of the mean.
      temperature: τ.
      chunk: captions at a time. The tensor over all pairs would be B × B × M × K: it is never held whole, neither
        here nor, being recomputed, for the backward pass.

    Returns:
      float32 [B, B]; columns of captions without a phrase are 0.
    """
    batch = groups.shape[0]
    chunk = min(chunk, batch)
    padding = -batch % chunk

    def chunks(x: jax.Array) -> jax.Array:
        x = jnp.pad(x, [(0, padding)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(-1, chunk, *x.shape[1:])  # [B/chunk, chunk, ...]

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def score(some: tuple[jax.Array, jax.Array]) -> jax.Array:
        phrases, mask = some  # [chunk, K, C], [chunk, K]
        cosine = jnp.einsum("imc,jkc->imjk", groups, phrases)  # [B, M, chunk, K]
        picked = (jax.nn.softmax(cosine / temperature, axis=1) * cosine).sum(axis=1)  # [B, chunk, K]
        return jnp.where(mask, picked, 0).sum(axis=2) / jnp.maximum(mask.sum(axis=1), 1)  # [B, chunk]

    columns = jax.lax.map(score, (chunks(nouns), chunks(noun_mask)))  # [B/chunk, B, chunk]
    return columns.transpose(1, 0, 2).reshape(batch, -1)[:, :batch]


@dataclasses.dataclass(frozen=True)
class SpatialGrounding:
    """Contrast of S(i, j) over the batch.

    Attributes:
      weight: ω2 [P: 1].
      temperature: τ of the softmax over groups [C].
      contrast_temperature: τ' of the contrast [C].
      reduction: `mean` or `sum` of the two directions [C].
      chunk: captions scored at a time.
    """

    weight: float = 1.0
    temperature: float = 0.07
    contrast_temperature: float = 0.07
    reduction: str = "mean"
    chunk: int = 64

    CHOICES = {"reduction": ("mean", "sum")}

    def __call__(
        self, outputs: Outputs, batch: dict[str, jax.Array], rng: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss; metrics: `accuracy` within the batch, and `groups_used`, clip by clip the mean number of groups
        that win at least one token in the last grouping block."""
        assert outputs.noun_embedding is not None  # the registry asks for captions
        nouns = constrain(outputs.noun_embedding, None, None, None)
        noun_mask = constrain(batch["noun_mask"], None, None)
        scores = clip_noun_scores(outputs.video.group_embedding, nouns, noun_mask, self.temperature, self.chunk)
        # A caption without phrases says nothing of where: it drops out as a row and as a column.
        exists = batch["valid"] & batch["noun_mask"].any(axis=1)
        across, down = info_nce(scores / self.contrast_temperature, exists, exists)
        loss = (across + down) * (0.5 if self.reduction == "mean" else 1.0)

        best = jnp.argmax(jnp.where(exists[None, :], scores, -2.0), axis=1)
        hit = (best == jnp.arange(len(best))).astype(jnp.float32)
        logits = outputs.video.logits[-1]  # [B, M, Nt, h, w]
        groups = logits.shape[1]
        winners = jnp.argmax(logits, axis=1).reshape(len(best), -1)  # [B, N]
        used = jax.nn.one_hot(winners, groups, dtype=jnp.bool_).any(axis=1).sum(axis=1)
        return loss, {
            "accuracy": masked_mean(hit, exists),
            "groups_used": masked_mean(used.astype(jnp.float32), batch["valid"]),
        }
