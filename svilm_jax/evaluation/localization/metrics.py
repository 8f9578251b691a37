"""ActivityNet mean average precision of temporal action localization.

The definition is that of the official evaluation of the ActivityNet challenge (docs/method.md, 1.7; Heilbron et al.,
CVPR 2015). Per class, predictions are processed in order of decreasing score. A prediction is a true positive if a
segment of its video and class that is not matched yet overlaps it by at least the threshold; it is matched to the one
that overlaps most. Precision over recall is interpolated as in PASCAL VOC 2011, and average precision is the area under
that curve, zero for a class without predictions. The mean is over the classes of the ground truth. Where the definition
leaves room, this code reproduces the official evaluation, so that numbers are comparable with published ones:

- The overlap is 0 / 0 where both segments are points, or one is reversed and as long as the other. That counts as a
  match at every threshold, and ranks above every other segment.
- Equal scores, and equal overlaps, are ordered by NumPy's default `argsort` read backwards. That sort is not stable, so
  the order depends on NumPy and the processor; `tied_scores` counts the affected predictions.

All videos of all classes are matched in parallel here, the r-th prediction of each in round r.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)


@dataclasses.dataclass(frozen=True)
class Segments:
    """Labeled segments of videos: a ground truth, or predictions with scores.

    Attributes:
      videos: str [N], ids.
      labels: str [N], class names.
      times: float64 [N, 2], start and end in seconds. An end before its start is kept.
      scores: float64 [N]; None for a ground truth.
    """

    videos: np.ndarray
    labels: np.ndarray
    times: np.ndarray
    scores: np.ndarray | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.videos), len(self.labels), len(self.times)}
        if self.scores is not None:
            lengths.add(len(self.scores))
        if len(lengths) != 1 or self.times.shape[1:] != (2,):
            raise ValueError(f"lengths {sorted(lengths)}, times {self.times.shape}: expected [N] and times [N, 2]")

    def __len__(self) -> int:
        return len(self.times)

    @classmethod
    def of(
        cls,
        videos: Sequence[str],
        labels: Sequence[str],
        times: Sequence[Sequence[float]],
        scores: Sequence[float] | None = None,
    ) -> "Segments":
        """Builds segments from lists, which may be empty."""
        return cls(
            videos=np.array(videos, np.str_),
            labels=np.array(labels, np.str_),
            times=np.array(times, np.float64).reshape(-1, 2),
            scores=None if scores is None else np.array(scores, np.float64),
        )

    def subset(self, chosen: np.ndarray) -> "Segments":
        """Returns the segments selected by a mask bool [N] or an index int [K]."""
        scores = None if self.scores is None else self.scores[chosen]
        return Segments(self.videos[chosen], self.labels[chosen], self.times[chosen], scores)


@dataclasses.dataclass(frozen=True)
class Detection:
    """Result of the evaluation.

    Attributes:
      thresholds: float64 [T], of overlap.
      labels: the C classes of the ground truth, in the order of their first segment.
      average_precision: float64 [T, C], between 0 and 1.
      unknown_labels: class -> number of predictions, for classes that the ground truth lacks; these are excluded.
      without_predictions: number of classes without any prediction.
      tied_scores: number of predictions that share their score with another of their class.
    """

    thresholds: np.ndarray
    labels: list[str]
    average_precision: np.ndarray
    unknown_labels: dict[str, int]
    without_predictions: int
    tied_scores: int

    @property
    def mean_average_precision(self) -> np.ndarray:
        """float64 [T], over classes."""
        return self.average_precision.mean(axis=1)

    @property
    def average(self) -> float:
        """The mean over thresholds: the ranking metric of the challenge."""
        return float(self.mean_average_precision.mean())


def detection_average_precision(
    truth: Segments, predictions: Segments, thresholds: Sequence[float] | np.ndarray = THRESHOLDS
) -> Detection:
    """Computes the average precision of every class at every threshold.

    Args:
      truth: the segments to find, at least one.
      predictions: predicted segments with scores; their order breaks ties.
      thresholds: tIoU thresholds, each above 0.

    Raises:
      ValueError: no ground truth, predictions without scores, scores or times that are not finite, a threshold that
        is not above 0.
    """
    thresholds = np.asarray(thresholds, np.float64)
    if not len(truth):
        raise ValueError("no ground-truth segments: which split is this?")
    scores = predictions.scores
    if scores is None:
        raise ValueError("predictions without scores cannot be ranked")
    if not (np.isfinite(predictions.times).all() and np.isfinite(scores).all()):
        raise ValueError("predictions: expected finite times and scores")
    if not (thresholds > 0).all():
        raise ValueError(f"thresholds {thresholds.tolist()}: expected all above 0, or no overlap would be required")
    names, first, truth_class = np.unique(truth.labels, return_index=True, return_inverse=True)
    by_appearance = np.argsort(first)
    is_known = np.isin(predictions.labels, names)
    unknown, counts = np.unique(predictions.labels[~is_known], return_counts=True)
    known, scores = predictions.subset(is_known), scores[is_known]
    predicted_class = np.searchsorted(names, known.labels)
    of_class = [np.flatnonzero(predicted_class == c) for c in range(len(names))]
    # By class and not all at once: the official order of equal scores is that of sorting each class separately.
    ordered = [rows[scores[rows].argsort()[::-1]] for rows in of_class]
    by_score = np.concatenate(ordered)
    hits = np.zeros((len(thresholds), len(known)), bool)
    hits[:, by_score] = _match(truth, truth_class, known.subset(by_score), predicted_class[by_score], thresholds)
    targets = np.bincount(truth_class, minlength=len(names))
    precision = [interpolated_average_precision(hits[:, c], int(n)) for c, n in zip(ordered, targets, strict=True)]
    return Detection(
        thresholds=thresholds,
        labels=names[by_appearance].tolist(),
        average_precision=np.stack(precision, axis=1)[:, by_appearance],  # [T, C]
        unknown_labels=dict(zip(unknown.tolist(), counts.tolist(), strict=True)),
        without_predictions=sum(not len(rows) for rows in of_class),
        tied_scores=sum(_tied(scores[rows]) for rows in of_class),
    )


def temporal_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the temporal IoU of segments float [..., 2], elementwise.

    NaN where the union is 0, as between two points in time.
    """
    common = np.clip(np.minimum(first[..., 1], second[..., 1]) - np.maximum(first[..., 0], second[..., 0]), 0, None)
    either = (second[..., 1] - second[..., 0]) + (first[..., 1] - first[..., 0]) - common
    with np.errstate(invalid="ignore"):
        return common / either


def interpolated_average_precision(hits: np.ndarray, targets: int) -> np.ndarray:
    """Computes the area under precision over recall, each precision raised to the best at the same or higher recall.

    Args:
      hits: bool [T, N], by decreasing score.
      targets: number of ground-truth segments.

    Returns:
      float64 [T]; 0 without predictions.
    """
    found = np.cumsum(hits, axis=1)  # [T, N]
    precision = found / np.arange(1, hits.shape[1] + 1)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # Recall rises only at a hit, and by one target each time.
    return np.sum(best * hits, axis=1) / targets


def _match(
    truth: Segments, truth_class: np.ndarray, predictions: Segments, predicted_class: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """Returns bool [T, N]: which predictions, by decreasing score within their class, are true positives."""
    hits = np.zeros((len(thresholds), len(predictions)), bool)
    for targets, members, queried, place in _cells(truth, truth_class, predictions, predicted_class):
        # K cells (a class in a video) of G targets each, with P predictions in them; place [P] is the cell of each.
        overlap = temporal_iou(predictions.times[queried][:, None], truth.times[targets[place]])  # [P, G]
        # Row by row this equals sorting one prediction's overlaps alone, including ties and NaN (first, reversed).
        nearest = overlap.argsort(axis=1)[:, ::-1]  # [P, G]
        # Not `>=`: an overlap that is NaN is not below any threshold.
        enough = ~(np.take_along_axis(overlap, nearest, axis=1)[:, None] < thresholds[:, None])  # [P, T, G]
        taken = np.zeros((len(members), len(thresholds), targets.shape[1]), bool)  # [K, T, G]
        for turn in _turns(place, len(members)):
            cell, order = place[turn], nearest[turn][:, None]  # [R], [R, 1, G]
            free = enough[turn] & ~np.take_along_axis(taken[cell], order, axis=2)  # [R, T, G], nearest first
            hit = free.any(axis=2)  # [R, T]
            choice = np.take_along_axis(np.broadcast_to(order, free.shape), free.argmax(axis=2)[..., None], 2)[..., 0]
            row, level = np.nonzero(hit)
            taken[cell[row], level, choice[row, level]] = True
            hits[:, queried[turn]] = hit.T
    return hits


def _cells(
    truth: Segments, truth_class: np.ndarray, predictions: Segments, predicted_class: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Groups cells (a class in a video) with equally many targets: no padding, which a sort would have to skip.

    Yields (targets int [K, G] into the truth, members int [K] cell numbers, queried int [P] into the predictions in
    their order, place int [P] which of the K cells a prediction is in). Predictions outside all cells are omitted.
    """
    videos, video = np.unique(truth.videos, return_inverse=True)
    cells, cell_of_target = np.unique(truth_class * len(videos) + video, return_inverse=True)
    slot = np.searchsorted(videos, predictions.videos)
    slot[slot == len(videos)] = 0
    key = predicted_class * len(videos) + slot
    cell = np.minimum(np.searchsorted(cells, key), len(cells) - 1)
    cell[(cells[cell] != key) | (videos[slot] != predictions.videos)] = -1
    by_cell = np.argsort(cell_of_target, kind="stable")  # targets of a cell stay in the order of the file
    size = np.bincount(cell_of_target, minlength=len(cells))
    start = np.cumsum(size) - size
    for number in np.unique(size):
        members = np.flatnonzero(size == number)
        targets = by_cell[start[members][:, None] + np.arange(number)]  # [K, G]
        queried = np.flatnonzero((cell >= 0) & (size[cell] == number))
        if len(queried):
            yield targets, members, queried, np.searchsorted(members, cell[queried])


def _turns(place: np.ndarray, cells: int) -> Iterator[np.ndarray]:
    """Yields index arrays into `place`: the first prediction of every cell, then the second, and so on."""
    by_cell = np.argsort(place, kind="stable")
    size = np.bincount(place, minlength=cells)
    turn = np.empty(len(place), np.int64)
    turn[by_cell] = np.arange(len(place)) - np.repeat(np.cumsum(size) - size, size)
    by_turn = np.argsort(turn, kind="stable")
    yield from np.split(by_turn, np.cumsum(np.bincount(turn))[:-1])


def _tied(scores: np.ndarray) -> int:
    _, counts = np.unique(scores, return_counts=True)
    return int(counts[counts > 1].sum())
