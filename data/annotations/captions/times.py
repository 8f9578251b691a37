"""Counts of captions and actions whose times lie outside their video, given its measured duration.

Official files state their own durations or none, so only decoding a video shows whether its captions fit. Times are
kept unchanged, since published numbers were measured with them, and sampling clips a segment to the end of its video; a
segment after the end is represented by the last frame. Both deserve a look before training.
"""

from collections.abc import Iterable, Iterator

from svilm_jax.input.schema import Record

TOLERANCE = 0.5  # seconds, for rounded end times


class OutOfRangeTimes:
    """Counts of captions and actions of one split whose times exceed the video.

    Attributes:
      timed: number of captions and actions with times.
      after_end: number of those that start at or after the end of their video.
      cut_off: number of those that start in the video and end more than `TOLERANCE` after it.
    """

    def __init__(self) -> None:
        """Starts with no record."""
        self.timed = self.after_end = self.cut_off = 0
        self._first: dict[str, str] = {}

    def add(self, record: Record, seconds: float) -> None:
        """Counts the times of a record whose video lasts `seconds`."""
        for name, start, end in _timed(record):
            self.timed += 1
            kind = "after_end" if start >= seconds else "cut_off" if end > seconds + TOLERANCE else ""
            if kind:
                setattr(self, kind, getattr(self, kind) + 1)
                first = f"first: {name} of {record.id}, {start:g} to {end:g} s of {seconds:.1f} s"
                self._first.setdefault(kind, first)

    def counted(self, records: Iterable[Record], seconds: Iterable[float]) -> Iterator[Record]:
        """Yields the records unchanged, counting each with the duration of its video."""
        for record, length in zip(records, seconds, strict=True):
            self.add(record, length)
            yield record

    def notes(self, split: str) -> dict[str, str]:
        """Returns the counts for the summary; empty if all times fit."""
        notes = {}
        if self.after_end:
            # Times in another unit are almost always after the end, not occasionally.
            hint = "; are the times in milliseconds? Seconds are expected" if 2 * self.after_end > self.timed else ""
            done = "kept, and represented by the last frame"
            notes[f"{split}: times after the end of the video"] = (
                f"{self.after_end:,} of {self.timed:,}; {done} ({self._first['after_end']}){hint}"
            )
        if self.cut_off:
            done = "kept, and sampled up to the end"
            notes[f"{split}: times that end after the video"] = (
                f"{self.cut_off:,} of {self.timed:,}; {done} ({self._first['cut_off']})"
            )
        return notes


def _timed(record: Record) -> Iterator[tuple[str, float, float]]:
    for number, caption in enumerate(record.captions, 1):
        if caption.start >= 0:
            yield f"caption {number}", caption.start, caption.end
    for number, action in enumerate(record.actions, 1):
        if action.start >= 0:
            yield f"action {number}", action.start, action.end
