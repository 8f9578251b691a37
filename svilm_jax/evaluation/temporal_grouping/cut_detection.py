"""Scene-cut detection in long videos: peaks of a dissimilarity curve, one-to-one matching, and F1."""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass
class DissimilarityCurve:
    """Dissimilarity of neighboring tubelets on a time grid, averaged over overlapping windows.

    Attributes:
      step: seconds between grid points, the duration of a tubelet.
      length: number of grid points; point i is at (i + 1)·step seconds, between tubelets i and i + 1.
    """

    step: float
    length: int

    def __post_init__(self) -> None:
        self._sum, self._count = np.zeros(self.length), np.zeros(self.length, int)

    def add(self, first: int, values: np.ndarray) -> None:
        """Adds a window's dissimilarities float [Nt - 1], whose first tubelet is number `first` of the video."""
        self._sum[first : first + len(values)] += values
        self._count[first : first + len(values)] += 1

    @property
    def values(self) -> np.ndarray:
        """float64 [length]; -inf where no window contributes, which is never a peak."""
        return np.where(self._count > 0, self._sum / np.maximum(self._count, 1), -np.inf)

    @property
    def times(self) -> np.ndarray:
        """float64 [length], seconds."""
        return (np.arange(self.length) + 1) * self.step


def neighbor_dissimilarity(z: np.ndarray) -> np.ndarray:
    """Returns 1 − cos(z_j, z_{j+1}) of neighboring tubelets, float64 [Nt - 1], for z float [Nt, D]."""
    z = np.asarray(z, np.float64)
    z = z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12)
    return 1.0 - np.sum(z[:-1] * z[1:], axis=-1)


def candidate_peaks(times: np.ndarray, values: np.ndarray, min_gap: float) -> list[tuple[float, float]]:
    """Returns (time, value) of the peaks that survive non-maximum suppression, the highest first.

    The highest point is taken and everything less than `min_gap` seconds away is dropped, until none is left; among
    equal points the earlier is taken first. A point lower than a neighbor on the grid is not a peak.
    """
    padded = np.concatenate([[-np.inf], values, [-np.inf]])
    is_peak = (values >= padded[:-2]) & (values >= padded[2:]) & np.isfinite(values)
    kept: list[tuple[float, float]] = []
    for i in np.lexsort((times, -values)):
        if is_peak[i] and all(abs(times[i] - time) >= min_gap - 1e-9 for time, _ in kept):
            kept.append((float(times[i]), float(values[i])))
    return kept


def matches(predicted: Sequence[float], true: Sequence[float], tolerance: float) -> int:
    """Returns the largest number of one-to-one pairs no more than `tolerance` seconds apart.

    Greedy matching of both lists in order is optimal, since the tolerance is the same for all.
    """
    predicted, true = sorted(predicted), sorted(true)
    i = j = pairs = 0
    while i < len(predicted) and j < len(true):
        if abs(predicted[i] - true[j]) <= tolerance + 1e-9:
            pairs, i, j = pairs + 1, i + 1, j + 1
        elif predicted[i] < true[j]:
            i += 1
        else:
            j += 1
    return pairs


def f1(predicted: Sequence[Sequence[float]], true: Sequence[Sequence[float]], tolerance: float) -> float:
    """Computes F1 = 2·pairs / (predicted + true), pooled over videos; 1 if there are neither true nor predicted cuts.

    Args:
      predicted: predicted cuts of every video in seconds.
      true: true cuts of every video in seconds.
      tolerance: seconds.
    """
    pairs = sum(matches(p, t, tolerance) for p, t in zip(predicted, true, strict=True))
    total = sum(map(len, predicted)) + sum(map(len, true))
    return 2 * pairs / total if total else 1.0


def best_threshold(
    peaks: Sequence[Sequence[tuple[float, float]]], true: Sequence[Sequence[float]], tolerance: float
) -> float:
    """Returns the threshold on peak values with the highest F1 on held-out videos.

    Thresholds are halfway between neighboring values, where they generalize best; among equal F1 the highest, which
    yields the fewest cuts.
    """
    values = np.unique([value for video in peaks for _, value in video])
    if not len(values):
        return 0.0
    thresholds = np.concatenate([[values[0] - 1e-6], (values[1:] + values[:-1]) / 2, [values[-1] + 1e-6]])
    # Many videos have many peaks: more than 200 thresholds would only overfit the choice.
    if len(thresholds) > 200:
        thresholds = thresholds[np.linspace(0, len(thresholds) - 1, 200).round().astype(int)]
    scores = [f1([above(video, t) for video in peaks], true, tolerance) for t in thresholds]
    return float(max(zip(scores, thresholds, strict=True))[1])


def above(peaks: Sequence[tuple[float, float]], threshold: float) -> list[float]:
    """Returns the times of the peaks above a threshold, ascending."""
    return sorted(time for time, value in peaks if value > threshold)


def random_f1(
    true: Sequence[Sequence[float]], durations: Sequence[float], tolerance: float, draws: int = 200, seed: int = 0
) -> float:
    """Returns the expected F1 of the true number of cuts at uniformly random times in every video."""
    rng = np.random.default_rng(seed)
    scores = [
        f1([rng.uniform(0, d, len(t)).tolist() for t, d in zip(true, durations, strict=True)], true, tolerance)
        for _ in range(draws)
    ]
    return float(np.mean(scores))


def evenly_spaced_f1(true: Sequence[Sequence[float]], durations: Sequence[float], tolerance: float) -> float:
    """Returns the F1 of the true number of cuts, evenly spaced in every video."""
    spaced = [(np.arange(1, len(t) + 1) * d / (len(t) + 1)).tolist() for t, d in zip(true, durations, strict=True)]
    return f1(spaced, true, tolerance)
