"""Decoding of the localizer's maps for one video into scored segments, before any suppression.

Anchors, steps and maps are those of `svilm_jax/models/heads/gtad.py`: start first, duration second.
"""

import numpy as np


def propose(
    start: np.ndarray,
    end: np.ndarray,
    scores: np.ndarray,
    duration: float,
    valid: np.ndarray | None = None,
    boundaries: bool = False,
) -> np.ndarray:
    """Returns every pair of a likely start and a later likely end, with the product of its probabilities.

    A step is a likely boundary if its probability exceeds that of both neighbors or half of the largest in the video;
    the first and the last step, which have one neighbor, always are [A: BSN, arXiv 1806.02964, section 3.3 and code].
    The score is tIoU regressed · tIoU classified, both sigmoids, as in the authors' code of G-TAD for ActivityNet (its
    branch `anet`) [P]. With `boundaries` it is also multiplied by the probabilities of start and end, as in their code
    for THUMOS-14 and in that of BMN; the paper of BMN takes the root of the first two [A].

    Args:
      start: float [T], logits of starts.
      end: float [T], logits of ends.
      scores: float [2, T (start), T (duration)], logits.
      duration: duration of the video in seconds.
      valid: bool [T, T], anchors that exist; None: those that end inside the video.
      boundaries: whether the probabilities of start and end count.

    Returns:
      float64 [N, 3]: start s, end s, score in [0, 1]; best first, ties by start, then end.

    Raises:
      ValueError: inconsistent shapes, or maps that are not finite.
    """
    start, end, scores = (np.asarray(x, np.float64) for x in (start, end, scores))
    steps = len(start)
    if start.shape != (steps,) or end.shape != (steps,) or scores.shape != (2, steps, steps):
        raise ValueError(f"start {start.shape}, end {end.shape}, scores {scores.shape}: expected [T], [T], [2, T, T]")
    if not all(np.isfinite(x).all() for x in (start, end, scores)):
        raise ValueError("the maps of a video are not finite: check the checkpoint")
    likely_start, likely_end = _sigmoid(start), _sigmoid(end)
    first, last = np.flatnonzero(_boundaries(likely_start)), np.flatnonzero(_boundaries(likely_end))
    s, e = (x.ravel() for x in np.meshgrid(first, last, indexing="ij"))  # [all pairs], by start, then end
    s, e = s[e >= s], e[e >= s]
    if valid is not None:
        exists = np.asarray(valid, bool)[s, e - s]
        s, e = s[exists], e[exists]
    fit = _sigmoid(scores[:, s, e - s]).prod(axis=0)  # [N]
    score = likely_start[s] * likely_end[e] * fit if boundaries else fit
    made = np.stack([s * duration / steps, (e + 1) * duration / steps, score], axis=1)  # [N, 3]
    return made[np.argsort(-score, kind="stable")]


def classify(proposals: np.ndarray, class_logits: np.ndarray, duration: float) -> np.ndarray:
    """Returns the probability of each class for each proposal: the softmax of the mean logits of its steps [C].

    A proposal covers the steps whose centers it contains, or, if it is too short for any, the one that contains its own
    center.

    Args:
      proposals: float [N, 3] or [N, 2], seconds in the first two columns.
      class_logits: float [T, C], of the classification branch.
      duration: duration of the video in seconds.

    Returns:
      float64 [N, C], rows that sum to 1.
    """
    logits = np.asarray(class_logits, np.float64)
    steps = len(logits)
    bounds = np.asarray(proposals, np.float64)[:, :2] / duration * steps  # [N, 2], in steps
    # Centers t + 0.5 in [a, b): t from ceil(a - 0.5) to ceil(b - 0.5) - 1. Rounding tolerates the last bit of a bound
    # that was a step's edge before it was converted to seconds; a center is half a step away from those.
    first, after = np.clip(np.ceil(np.round(bounds - 0.5, 9)), 0, steps).astype(np.int64).T  # [N] each
    middle = np.clip(bounds.mean(axis=1), 0, steps - 1).astype(np.int64)
    empty = after <= first
    first, after = np.where(empty, middle, first), np.where(empty, middle + 1, after)
    sums = np.concatenate([np.zeros((1, logits.shape[1])), np.cumsum(logits, axis=0)])  # [T + 1, C]
    mean = (sums[after] - sums[first]) / (after - first)[:, None]  # [N, C]
    likely = np.exp(mean - mean.max(axis=1, keepdims=True))
    return likely / likely.sum(axis=1, keepdims=True)


def _boundaries(probability: np.ndarray) -> np.ndarray:
    """Returns bool [T]: steps at which a segment may start or end."""
    left = np.concatenate([[-np.inf], probability[:-1]])
    right = np.concatenate([probability[1:], [-np.inf]])
    peak = (probability > left) & (probability > right)
    peak[[0, -1]] = True
    return peak | (probability > 0.5 * probability.max())


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """Returns 1 / (1 + exp(-x)), without overflow."""
    return np.exp(-np.logaddexp(0, -x))
