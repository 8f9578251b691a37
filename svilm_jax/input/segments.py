"""Temporal localization targets: label maps over T steps from annotated segments (docs/method.md, 1.7).

Step t covers [t, t + 1) · duration / T seconds, and an anchor (s, d) is the d + 1 steps from s. Labels follow BSN
(arXiv 1806.02964), BMN (arXiv 1907.09702) and the authors' code of G-TAD [A], with two differences [C]: end[t] refers
to the time (t + 1) · duration / T, the end of step t, so that an anchor (s, d) has its boundaries at start[s] and
end[s + d] and an anchor that reaches the end of the video has an end boundary; and segments that lie entirely outside
the video are dropped, where the authors keep one boundary of them.
"""

import numpy as np


def localization_targets(
    segments: np.ndarray, labels: np.ndarray, duration: float, steps: int, *, width: float = 3.0, ratio: float = 0.0
) -> dict[str, np.ndarray]:
    """Returns all training targets of one video.

    Args:
      segments: float [N, 2], start and end, seconds; N may be 0.
      labels: int [N], class of each.
      duration: duration of the video in seconds.
      steps: T.
      width: see `boundary_targets`.
      ratio: see `boundary_targets`.

    Returns:
      `start`, `end` float32 [T], `iou` float32 [T, T], `step_class` int32 [T].
    """
    start, end = boundary_targets(segments, duration, steps, width=width, ratio=ratio)
    iou, _ = iou_map(segments, duration, steps)
    return {"start": start, "end": end, "iou": iou, "step_class": step_classes(segments, labels, duration, steps)}


def boundary_targets(
    segments: np.ndarray, duration: float, steps: int, *, width: float = 3.0, ratio: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the overlap of the bin around each step's start and end with the region around a true boundary.

    The region around a boundary is max(`width` steps, `ratio` of the segment's length) wide, centered at the boundary:
    3 steps in the code of G-TAD and BMN [A]; (1, 0.1) gives that of BSN. The bin is one step wide.

    Args:
      segments: float [N, 2], seconds.
      duration: seconds.
      steps: T.
      width: minimum width of the region in steps.
      ratio: width of the region relative to the segment.

    Returns:
      start, end: float32 [T] in [0, 1], the largest fraction over the segments; 0 without segments.
    """
    inside, _ = _clipped(segments, duration)
    inside = inside / duration * steps  # in steps
    half = np.maximum(width, ratio * (inside[:, 1] - inside[:, 0])) / 2  # [N]

    def share(boundary: np.ndarray, middles: np.ndarray) -> np.ndarray:
        low = np.maximum(middles[:, None] - 0.5, boundary - half)  # [T, N]
        high = np.minimum(middles[:, None] + 0.5, boundary + half)
        return np.maximum(high - low, 0).max(axis=1, initial=0).astype(np.float32)  # [T]

    edges = np.arange(steps + 1, dtype=np.float64)
    return share(inside[:, 0], edges[:-1]), share(inside[:, 1], edges[1:])


def iou_map(segments: np.ndarray, duration: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the temporal IoU of every anchor with the best-matching true segment.

    Args:
      segments: float [N, 2], seconds; clipped to the video first.
      duration: seconds.
      steps: T.

    Returns:
      iou: float32 [T (start), T (duration)], 0 at anchors that end beyond the video.
      valid: bool [T, T], anchors that do not.
    """
    inside, _ = _clipped(segments, duration)
    true = inside / duration * steps  # in steps
    first = np.arange(steps)[:, None]
    last = first + np.arange(1, steps + 1)  # [T, T], where the anchor ends
    valid = last <= steps
    low = np.maximum(first[..., None], true[:, 0])  # [T, 1, N]
    high = np.minimum(last[..., None], true[:, 1])  # [T, T, N]
    shared = np.maximum(high - low, 0)
    union = (last - first)[..., None] + (true[:, 1] - true[:, 0]) - shared
    best = (shared / union).max(axis=2, initial=0)  # [T, T]
    return np.where(valid, best, 0).astype(np.float32), valid


def step_classes(segments: np.ndarray, labels: np.ndarray, duration: float, steps: int) -> np.ndarray:
    """Returns the class at the center of each step.

    Where segments overlap the shorter one is taken, which is more specific than the longer one around it.

    Args:
      segments: float [N, 2], seconds.
      labels: int [N], at least 0.
      duration: seconds.
      steps: T.

    Returns:
      int32 [T], -1 where no segment is (background).

    Raises:
      ValueError: labels that do not match the segments, or below 0.
    """
    labels = np.asarray(labels, np.int32).reshape(-1)
    if len(labels) != len(np.reshape(segments, (-1, 2))) or (labels < 0).any():
        raise ValueError(f"labels {labels.tolist()}: expected one of at least 0 for each of the segments")
    inside, kept = _clipped(segments, duration)
    middles = (np.arange(steps) + 0.5) * duration / steps
    classes = np.full(steps, -1, np.int32)
    # Longest first, so that shorter ones overwrite; a stable order, so that equal lengths do not depend on the sort.
    for i in np.argsort(inside[:, 0] - inside[:, 1], kind="stable"):
        classes[(middles >= inside[i, 0]) & (middles < inside[i, 1])] = labels[kept][i]
    return classes


def resize_features(
    features: np.ndarray, steps: int, times: np.ndarray | None = None, duration: float = 1.0
) -> np.ndarray:
    """Resamples features at the centers of T steps, by linear interpolation in time.

    Step t is read at (t + 0.5) · duration / T. Without `times`, feature j of N is at (j + 0.5) · duration / N: both
    grids cover the whole video without points on its ends. Beyond the first and the last feature, these are repeated.

    Args:
      features: float [N, D], in temporal order.
      steps: T.
      times: float [N], centers of the feature windows, seconds, strictly ascending.
      duration: seconds.

    Returns:
      float32 [T, D].

    Raises:
      ValueError: no features, times that do not match them or do not ascend, or values that are not finite.
    """
    features = np.asarray(features, np.float32)
    if features.ndim != 2 or not len(features):
        raise ValueError(f"features of shape {features.shape}: expected [N, D] with at least one row")
    if steps < 1 or not duration > 0:
        raise ValueError(f"{steps} steps over {duration} seconds: expected at least 1 and more than 0")
    count = len(features)
    known = (np.arange(count) + 0.5) * duration / count if times is None else np.asarray(times, np.float64)
    if known.shape != (count,) or not np.isfinite(known).all() or (np.diff(known) <= 0).any():
        raise ValueError(f"times of shape {known.shape} for {count} features: expected one each, strictly ascending")
    if not np.isfinite(features).all():
        raise ValueError("features are not finite: check the file, or the checkpoint that computed them")
    wanted = (np.arange(steps) + 0.5) * duration / steps
    place = np.interp(wanted, known, np.arange(count))  # [T], in features: one search for all D columns
    low = np.minimum(place.astype(np.int64), max(count - 2, 0))
    share = (place - low)[:, None].astype(np.float32)  # [T, 1]
    return features[low] * (1 - share) + features[np.minimum(low + 1, count - 1)] * share


def _clipped(segments: np.ndarray, duration: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the parts inside the video float64 [M, 2], seconds, and which segments have one, bool [N]."""
    segments = np.asarray(segments, np.float64).reshape(-1, 2)
    if not (np.isfinite(duration) and duration > 0):
        raise ValueError(f"a video of {duration} seconds: expected a positive duration")
    if not np.isfinite(segments).all() or (segments[:, 1] < segments[:, 0]).any():
        raise ValueError(f"segments {segments.tolist()}: expected finite seconds, the start not after the end")
    inside = np.clip(segments, 0, duration)
    kept = inside[:, 1] > inside[:, 0]
    return inside[kept], kept
