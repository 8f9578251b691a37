"""How high does each query rank what belongs to it? Ranks, recall at k, median rank, and what chance would give.

Ties are broken against the model (METHOD 1.7): an item as similar as the right one is taken to stand before it, so a
model that maps everything to one point gets the worst rank and not the best.
"""

import math
from collections.abc import Sequence

import numpy as np

RECALL_AT = (1, 5, 10)


def pessimistic_ranks(similarity: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """The rank, from 1, of the best right answer to every query.

    A query may have several right answers (a clip with several captions): the best one counts, and the others are
    taken out of the gallery, so that they cannot push it down.

    Args:
      similarity: float [Q, G], query by gallery item, larger is more alike.
      positives: bool [Q, G], True where the item is a right answer.

    Returns:
      int64 [Q]: 1 + the number of wrong items that are at least as similar as the best right one.

    Raises:
      ValueError: shapes that differ, a query with no right answer, or a similarity that is NaN (every comparison
        with NaN is false, which would hand the query rank 1).
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
            "embeddings are not finite, look at the checkpoint"
        )
    orphans = np.flatnonzero(~positives.any(axis=1))
    if len(orphans):
        raise ValueError(f"{len(orphans)} queries have no right answer in the gallery, the first is query {orphans[0]}")
    best = np.where(positives, similarity, -np.inf).max(axis=1, keepdims=True)  # [Q, 1]
    return 1 + np.sum((similarity >= best) & ~positives, axis=1)  # [Q]


def recall_metrics(ranks: np.ndarray, prefix: str, recall_at: Sequence[int] = RECALL_AT) -> dict[str, float]:
    """`prefix_R1`, ... as fractions and `prefix_MedR` as a rank, of ranks int [Q] counted from 1."""
    ranks = np.asarray(ranks)
    if not len(ranks):
        raise ValueError(f"{prefix}: no queries to rank; is the split empty, or without captions?")
    metrics = {f"{prefix}_R{k}": float(np.mean(ranks <= k)) for k in recall_at}
    return metrics | {f"{prefix}_MedR": float(np.median(ranks))}


def chance_metrics(positives: np.ndarray, prefix: str, recall_at: Sequence[int] = RECALL_AT) -> dict[str, float]:
    """What a random order of the gallery is expected to give, exactly: `prefix_R1_chance`, ..., `prefix_MedR_chance`.

    With p right answers and n wrong ones the rank exceeds k exactly when the first k items are all wrong, which has
    probability C(n, k) / C(n + p, k); recall is the mean over queries, and the median is that of the pooled ranks.
    """
    positives = np.asarray(positives, bool)
    right = positives.sum(axis=1)
    wrong = positives.shape[1] - right
    kinds, counts = np.unique(np.stack([right, wrong], axis=1), axis=0, return_counts=True)
    share = counts / counts.sum()

    def within(k: int) -> float:
        return float(sum(s * chance_within(k, int(p), int(n)) for s, (p, n) in zip(share, kinds, strict=True)))

    metrics = {f"{prefix}_R{k}_chance": within(k) for k in recall_at}
    below = [within(k) for k in range(1, int(wrong.max()) + 2)]
    # The lower and the upper median differ where half of the mass lies exactly at or below a rank.
    lower = next(k for k, mass in enumerate(below, 1) if mass >= 0.5 - 1e-12)
    upper = next((k for k, mass in enumerate(below, 1) if mass > 0.5 + 1e-12), len(below))
    return metrics | {f"{prefix}_MedR_chance": (lower + upper) / 2}


def chance_within(k: int, right: int, wrong: int) -> float:
    """The probability that at least one of `right` answers is among the first k of a random order."""
    return 1.0 - math.comb(wrong, k) / math.comb(wrong + right, k) if k <= wrong + right else 1.0
