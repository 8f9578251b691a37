"""InfoNCE and sigmoid contrastive losses over all pairs of a batch.

`info_nce` takes a matrix of scores and follows the formula literally, which fits small batches; the streamed variants
take a function that returns the scores of some rows and columns, and never materialize the matrix
(`svilm_jax/parallel/chunked_contrastive.py`).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32

from svilm_jax.parallel import MASK_VALUE, Exchange, Score, Streaming, diagonal, reduce_pairs


@dataclasses.dataclass(frozen=True)
class Pairing:
    """Two sets of B items, where the i-th item of one matches the i-th item of the other.

    Attributes:
      score: (some rows, some columns) -> float32 [r, c], larger is more similar.
      rows, columns: pytrees of float arrays [B, ...].
      row_mask, column_mask: bool [B], which of them exist. A pair counts where both its row and its column do.
    """

    score: Score
    rows: Any
    columns: Any
    row_mask: Bool[Array, " B"]
    column_mask: Bool[Array, " B"]

    @property
    def counts(self) -> Bool[Array, " B"]:
        """bool [B]."""
        return self.row_mask & self.column_mask

    def own(self) -> Float32[Array, " B"]:
        """The scores of the matched pairs, float32 [B]."""
        return diagonal(self.score, self.rows, self.columns)

    def reduce(self, streaming: Streaming) -> tuple[Float32[Array, " B"], Float32[Array, " B"], Float32[Array, " B"]]:
        """See `reduce_pairs`."""
        return reduce_pairs(self.score, self.rows, self.columns, self.row_mask, self.column_mask, streaming)


def info_nce(
    scores: Float[Array, "B B"], rows: Bool[Array, " B"], columns: Bool[Array, " B"]
) -> tuple[Float32[Array, ""], Float32[Array, ""]]:
    """Computes the mean cross-entropy of the diagonal, along rows and along columns.

    Args:
      scores: float32 [B, B], larger is more similar; the diagonal holds the matched pairs.
      rows: bool [B], which rows exist; a pair counts where both its row and its column do.
      columns: bool [B], which columns exist.

    Returns:
      two scalars: -mean log softmax_j(s_ij)[i=j], and the same over i. Zero where no pair counts.
    """
    scores = scores.astype(jnp.float32)
    pair = rows & columns
    positive = jnp.diagonal(scores)
    across = jax.nn.logsumexp(jnp.where(columns[None, :], scores, MASK_VALUE), axis=1) - positive
    down = jax.nn.logsumexp(jnp.where(rows[:, None], scores, MASK_VALUE), axis=0) - positive
    return masked_mean(across, pair), masked_mean(down, pair)


def streamed_info_nce(
    pairing: Pairing, chunk: int, exchange: Exchange
) -> tuple[Float32[Array, ""], Float32[Array, ""], Float32[Array, ""]]:
    """Computes `info_nce` without the matrix, and the fraction of rows whose own column scores highest.

    Args:
      pairing: scores and masks of the pairs.
      chunk: see `Streaming`.
      exchange: see `Streaming`.
    """
    positive = pairing.own()
    across, down, wrong = pairing.reduce(Streaming(chunk, exchange))
    hits = (positive > wrong).astype(jnp.float32)
    counts = pairing.counts
    return masked_mean(across - positive, counts), masked_mean(down - positive, counts), masked_mean(hits, counts)


def streamed_sigmoid_contrast(
    pairing: Pairing, chunk: int, exchange: Exchange
) -> tuple[Float32[Array, ""], Float32[Array, ""]]:
    """Computes the sigmoid loss of all pairs (SigLIP, arXiv 2303.15343, eq. 1): mean over rows, sum over columns.

    The bias is part of the score. Also returns the fraction of hits, as `streamed_info_nce` does.
    """
    positive = pairing.own()
    total, _, wrong = pairing.reduce(Streaming(chunk, exchange, "softplus"))
    # The sum treats every pair as a mismatch, -log σ(-s) = softplus(s); a match costs softplus(-s) = softplus(s) - s.
    counts = pairing.counts
    losses = jnp.where(pairing.row_mask, total, 0) - jnp.where(counts, positive, 0)
    hits = (positive > wrong).astype(jnp.float32)
    return losses.sum() / jnp.maximum(pairing.row_mask.sum(), 1), masked_mean(hits, counts)


def masked_mean(values: Float[Array, "*shape"], mask: Bool[Array, "*shape"]) -> Float[Array, ""]:
    """Returns the mean of the values where the mask is True; 0 if it is True nowhere."""
    return jnp.where(mask, values, 0).sum() / jnp.maximum(mask.sum(), 1)
