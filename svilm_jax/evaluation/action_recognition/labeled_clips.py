"""Clips of a split that carry an action label, with their class indices."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from svilm_jax.config import VideoConfig
from svilm_jax.evaluation.clips import EvaluationError
from svilm_jax.input.labels import numbered
from svilm_jax.input.multi_view import evaluation_views
from svilm_jax.input.records import open_records

log = logging.getLogger(__name__)


class LabeledClips:
    """One item per action: its video, its window if it has one, and its class index.

    Attributes:
      targets: int64 [N].
      failed: items whose video could not be decoded in the latest, or running, `views`.
    """

    def __init__(self, dataset: str, split: str, limit: int, video: VideoConfig, classes: Sequence[str]):
        """Reads the labels of the split, without decoding videos.

        Raises:
          EvaluationError: no label, or one that is not among the classes.
        """
        self._records, self._video, numbers = open_records(dataset, split), video, numbered(classes)
        self._numbers: list[int] = []
        self._windows: list[tuple[float, float]] = []
        targets: list[int] = []
        for number in range(min(limit, len(self._records)) if limit else len(self._records)):
            record = self._records[number]
            for action in record.actions:
                if action.label not in numbers:
                    raise EvaluationError(f"split {split!r}: {record.id} is {action.label!r}, which is not a class")
                self._numbers.append(number)
                self._windows.append((action.start, action.end))
                targets.append(numbers[action.label])
        if not targets:
            raise EvaluationError(f"split {split!r}: no video with an action label")
        self.targets, self.failed = np.array(targets), 0

    def views(self, clips: int, crops: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (item index, uint8 [clips * crops, T, H, W, 3]) of those that can be decoded, in order."""
        self.failed = 0
        decoded = evaluation_views(self._records, self._numbers, self._windows, self._video, clips, crops)
        for item, (record, views) in enumerate(decoded):
            if isinstance(views, str):
                self.failed += 1
                log.warning("clip %s left out of the evaluation: %s", record.id, views)
            else:
                yield item, views
