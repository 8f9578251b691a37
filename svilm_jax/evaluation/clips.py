"""Evaluation clips of a split, with accounting of those that cannot be decoded.

Undecodable clips are excluded, named in the log, and counted in the metric `failed_fraction`: a gallery that shrinks
silently would overstate the model's quality.
"""

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from svilm_jax.config import VideoConfig
from svilm_jax.errors import UserError
from svilm_jax.evaluation.metric import Metric, Unit
from svilm_jax.input.clips import Clip, clip_masks, evaluation_clips
from svilm_jax.input.records import RecordSource, open_records
from svilm_jax.input.schema import Record
from svilm_jax.video.decoding import VideoError, VideoInfo, probe

FAILED_FRACTION = "failed_fraction"

log = logging.getLogger(__name__)


class EvaluationError(UserError, ValueError):
    """A task that cannot be evaluated on the given data; the message names the split and the missing content."""


class EvaluationClips:
    """Clips of one split, in order, decoded on demand and not kept.

    Args:
      dataset: folder of a prepared dataset.
      split: split or view of it.
      limit: use the first N records; 0: all.
      video: input size of the model.

    Attributes:
      records: records of the split, without the limit, by random access.
      failed: record number -> reason, of the clips that could not be decoded so far.
    """

    def __init__(self, dataset: str, split: str, limit: int, video: VideoConfig):
        self.split, self.video = split, video
        self.records: RecordSource = open_records(dataset, split)
        self.numbers = list(range(min(limit, len(self.records)) if limit else len(self.records)))
        self.failed: dict[int, str] = {}

    def read(
        self, numbers: Sequence[int], windows: Sequence[tuple[float, float]] | None = None
    ) -> Iterator[tuple[int, Clip]]:
        """Yields (position in `numbers`, clip) of those that can be decoded, in order.

        Args:
          numbers: record numbers; repetitions are allowed.
          windows: the (start, end) seconds to sample, one per number; None: the whole videos.
        """
        clips = evaluation_clips(self.records, numbers, self.video, windows=windows)
        for position, (number, clip) in enumerate(zip(numbers, clips, strict=True)):
            if clip.error is None:
                yield position, clip
            elif number not in self.failed:
                self.failed[number] = clip.error
                log.warning("%s: clip %s left out of the evaluation: %s", self.split, clip.record.id, clip.error)

    def groups(self) -> dict[str, list[int]]:
        """Returns group -> record numbers, in order, of the records that have one; nothing is decoded."""
        groups: dict[str, list[int]] = {}
        for number in self.numbers:
            if group := self.records[number].group:
                groups.setdefault(group, []).append(number)
        return groups

    def failed_fraction(self, prefix: str, suffix: str = "") -> Metric:
        """Returns `PREFIX/failed_fraction` and the suffix: the fraction of clips that could not be decoded."""
        return failed_fraction(prefix, len(self.failed) / max(1, len(self.numbers)), suffix)


def failed_fraction(prefix: str, value: float, suffix: str = "") -> Metric:
    """Returns the metric `PREFIX/failed_fraction` of an evaluator that counts its clips itself."""
    name = f"{prefix}/{FAILED_FRACTION}{suffix}"
    return Metric(name, value, Unit.FRACTION, "clips that cannot be decoded", higher_is_better=False)


def whole_captions(record: Record) -> list[str]:
    """Returns the captions that describe the whole video; if all are timed, all of them."""
    untimed = [caption.text for caption in record.captions if caption.start < 0]
    return untimed or [caption.text for caption in record.captions]


def object_masks(clip: Clip) -> tuple[list[str], np.ndarray] | None:
    """Returns the phrases of a clip's objects and their masks at the model's input size, bool [K, T, H, W].

    Masks of objects with the same phrase are merged. None if the record has no masks.

    Raises:
      ValueError: the record has fewer masks than decoded frames.
    """
    record = clip.record
    if record.masks is None or not record.objects:
        return None
    ids = clip_masks(clip)  # [T, H, W]
    phrases = list(dict.fromkeys(item.phrase for item in record.objects))
    members = [[item.mask_id for item in record.objects if item.phrase == phrase] for phrase in phrases]
    return phrases, np.stack([np.isin(ids, values) for values in members])  # [K, T, H, W]


def video_header(record: Record) -> VideoInfo | None:
    """Returns the properties of a record's video; None if they cannot be read (decoding reports the reason)."""
    try:
        return probe(record.video)
    except VideoError:
        return None
