"""Gaussian soft non-maximum suppression of temporal segments.

Soft-NMS (Bodla et al., arXiv 1704.04503, its Gaussian form) as used by temporal proposal networks: BSN (arXiv
1806.02964), BMN (arXiv 1907.09702) and G-TAD (arXiv 1911.11462). Their published code differs in which overlaps are
decayed: all of them in G-TAD; only large ones in BSN and BMN, where the limit grows with the length of the kept
segment. `threshold` selects this; the default is that of G-TAD.
"""

import numpy as np

TOP_K = 100  # proposals per video, as customary for ActivityNet's metrics


def soft_nms(
    segments: np.ndarray,
    scores: np.ndarray,
    sigma: float = 0.8,
    threshold: tuple[float, float] = (0.0, 0.0),
    unit: float = 1.0,
    top_k: int = TOP_K,
) -> tuple[np.ndarray, np.ndarray]:
    """Repeatedly takes the best segment and lowers the scores of those that overlap it.

    After a segment m of length w was taken, each other one with `iou > low + (high - low) * w / unit` is multiplied by
    `exp(-iou**2 / sigma)`. BMN is `sigma=0.4, threshold=(0.5, 0.9)` with `unit` the length of the video; BSN is
    `sigma=0.75, threshold=(0.65, 0.9)`. Published loops stop before the last segment is taken, which drops the only
    proposal of a video that has one; here it is kept.

    Args:
      segments: float [N, 2], start and end, in any unit of time.
      scores: float [N], nonnegative. Ties are taken in input order.
      sigma: width of the decay, positive.
      threshold: (low, high) above.
      unit: unit of a segment's length in `threshold`, in the segments' unit of time.
      top_k: maximum number of segments to keep.

    Returns:
      (index, score): int64 [K] into the input and float64 [K] decayed scores, highest first, K = min(N, top_k). A
      segment whose score decayed to zero is not kept.

    Raises:
      ValueError: shapes that differ, a segment that ends before it starts, scores that are negative or not finite.
    """
    segments, scores = np.asarray(segments, np.float64), np.array(scores, np.float64)
    if segments.shape != (len(scores), 2) or scores.ndim != 1:
        raise ValueError(f"segments {segments.shape} and scores {scores.shape}: expected [N, 2] and [N]")
    if not np.isfinite(segments).all() or (segments[:, 1] < segments[:, 0]).any():
        raise ValueError("segments: expected finite times, with no end before its start")
    if not np.isfinite(scores).all() or (scores < 0).any():
        raise ValueError("scores: expected finite nonnegative numbers: decay would raise negative ones")
    if not (sigma > 0 and unit > 0):
        raise ValueError(f"sigma {sigma}, unit {unit}: expected positive numbers")
    start, end = segments.T
    length = end - start
    low, high = threshold
    taken, kept = [], []
    waiting = np.ones(len(scores), bool)
    for _ in range(min(top_k, len(scores))):
        best = int(np.argmax(np.where(waiting, scores, -1.0)))
        if not scores[best] > 0:
            break
        taken.append(best)
        kept.append(scores[best])
        waiting[best] = False
        common = np.clip(np.minimum(end, end[best]) - np.maximum(start, start[best]), 0, None)  # [N]
        either = length + length[best] - common
        # Two points in time have neither intersection nor union: 0 / 0, which counts as no overlap.
        iou = np.divide(common, either, out=np.zeros_like(common), where=either > 0)
        decays = iou > low + (high - low) * length[best] / unit
        scores[decays] *= np.exp(-np.square(iou[decays]) / sigma)
    # Later rounds never raise a score, so the order taken is the order of scores.
    return np.array(taken, np.int64), np.array(kept, np.float64)
