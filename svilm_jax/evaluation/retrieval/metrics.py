"""Ranking metrics: ranks, recall at k, median and mean rank, and their chance levels.

Ties are broken against the model (docs/method.md, 1.7): an item with the same similarity as the correct one is ranked
before it, so a model that maps everything to one point gets the worst rank and not the best.
"""

import bisect
import math
from collections.abc import Sequence

import numpy as np

RECALL_AT = (1, 5, 10)
RANKS = {"MedR": "median rank", "MeanR": "mean rank"}


def pessimistic_ranks(similarity: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Returns the rank, from 1, of the best correct item for every query.

    A query may have several correct items (a clip with several captions): the best one counts, and the others are
    removed from the gallery, so that they do not lower its rank.

    Args:
      similarity: float [Q, G], query by gallery item, larger is more similar.
      positives: bool [Q, G], True where the item is correct.

    Returns:
      int64 [Q]: 1 + the number of incorrect items that are at least as similar as the best correct one.

    Raises:
      ValueError: shapes that differ, a query without a correct item, or a similarity that is NaN (every comparison
        with NaN is false, which would give the query rank 1).
    """
    similarity, positives = np.asarray(similarity), np.asarray(positives, bool)
    if similarity.ndim != 2 or similarity.shape != positives.shape:
        raise ValueError(
            f"similarity {similarity.shape} and positives {positives.shape}: expected the same [queries, gallery] shape"
        )
    if np.isnan(similarity).any():
        rows = np.flatnonzero(np.isnan(similarity).any(axis=1))
        raise ValueError(
            f"{len(rows)} of {len(similarity)} queries have NaN similarities, the first is query {rows[0]}: the "
            "embeddings are not finite, check the checkpoint"
        )
    orphans = np.flatnonzero(~positives.any(axis=1))
    if len(orphans):
        raise ValueError(f"{len(orphans)} queries have no right answer in the gallery, the first is query {orphans[0]}")
    best = np.where(positives, similarity, -np.inf).max(axis=1, keepdims=True)  # [Q, 1]
    return 1 + np.sum((similarity >= best) & ~positives, axis=1)  # [Q]


def recall_metrics(ranks: np.ndarray, recall_at: Sequence[int] = RECALL_AT) -> dict[str, float]:
    """Returns `R1`, ... as fractions, `MedR` and `MeanR` as ranks, of ranks int [Q] from 1."""
    ranks = np.asarray(ranks)
    if not len(ranks):
        raise ValueError("no queries to rank; is the split empty, or without captions?")
    metrics = {f"R{k}": float(np.mean(ranks <= k)) for k in recall_at}
    return metrics | {"MedR": float(np.median(ranks)), "MeanR": float(np.mean(ranks))}


def chance_metrics(positives: np.ndarray, recall_at: Sequence[int] = RECALL_AT) -> dict[str, float]:
    """Returns the exact expectation of `recall_metrics` under a random order of the gallery, of positives bool [Q, G].

    With p correct items and n incorrect ones the rank exceeds k exactly when the first k items are all incorrect, which
    has probability C(n, k) / C(n + p, k); recall is the mean over queries, and the median is that of the pooled ranks.
    The correct items divide the order into p + 1 stretches, with n / (p + 1) incorrect ones each on average, and the
    rank is one more than the length of the first stretch.
    """
    positives = np.asarray(positives, bool)
    right = positives.sum(axis=1)
    wrong = positives.shape[1] - right
    kinds, counts = np.unique(np.stack([right, wrong], axis=1), axis=0, return_counts=True)
    weights = counts / counts.sum()

    def within(k: int) -> float:
        return float(sum(s * chance_within(k, int(p), int(n)) for s, (p, n) in zip(weights, kinds, strict=True)))

    metrics = {f"R{k}": within(k) for k in recall_at}
    ranks = range(1, int(wrong.max()) + 2)
    # The lower and the upper median differ if exactly half of the mass is at or below a rank.
    lower = ranks[bisect.bisect_left(ranks, 0.5 - 1e-12, key=within)]
    upper = ranks[bisect.bisect_right(ranks, 0.5 + 1e-12, key=within)]
    mean = float(np.mean(1 + wrong / (right + 1)))
    return metrics | {"MedR": (lower + upper) / 2, "MeanR": mean}


def chance_within(k: int, right: int, wrong: int) -> float:
    """Returns the probability that at least one of `right` items is among the first k of a random order.

    C(n, k) / C(n + p, k) has p factors as well as k; the smaller number is used, since a gallery of all captions has
    tens of thousands of ranks, and its binomials as many digits.
    """
    if k > wrong:
        return 1.0
    if k < right:
        return 1.0 - math.prod((wrong - i) / (wrong + right - i) for i in range(k))
    return 1.0 - math.prod((wrong - k + i) / (wrong + i) for i in range(1, right + 1))
