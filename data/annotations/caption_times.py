"""Counts of captions and actions whose times lie outside their video, given its measured duration.

Official files state durations of their own or none at all: only the video itself tells whether its captions fit. Times
are kept unchanged, since published numbers were measured with them, and sampling uses the part of a segment that
exists; a segment after the end is represented by the last frame, which is worth knowing before training.
"""

from collections.abc import Iterable, Iterator

from svilm_jax.input.schema import Record

TOLERANCE = 0.5  # tolerance in seconds of a rounded end time


class TimesOutside:
    """Counts over the records of one split.

    Attributes:
      timed: captions and actions with times.
      behind: those that start at or after the end of their video.
      cut: those that start in the video and end more than `TOLERANCE` after it.
    """

    def __init__(self) -> None:
        """Starts with no record."""
        self.timed = self.behind = self.cut = 0
        self._first: dict[str, str] = {}

    def add(self, record: Record, seconds: float) -> None:
        """Counts the times of a record whose video lasts `seconds`."""
        for what, start, end in _timed(record):
            self.timed += 1
            kind = "behind" if start >= seconds else "cut" if end > seconds + TOLERANCE else ""
            if kind:
                setattr(self, kind, getattr(self, kind) + 1)
                told = f"first: {what} of {record.id}, {start:g} to {end:g} s of {seconds:.1f} s"
                self._first.setdefault(kind, told)

    def counted(self, records: Iterable[Record], seconds: Iterable[float]) -> Iterator[Record]:
        """Yields the records unchanged, counting each with the duration of its video."""
        for record, length in zip(records, seconds, strict=True):
            self.add(record, length)
            yield record

    def notes(self, split: str) -> dict[str, str]:
        """Returns the counts for the summary; empty if all times fit."""
        notes = {}
        if self.behind:
            # Times in another unit are almost always after the end, not occasionally.
            hint = "; are the times in milliseconds? Seconds are expected" if 2 * self.behind > self.timed else ""
            done = "kept as they are, and shown by the last frame"
            notes[f"{split}: times after the end of the video"] = (
                f"{self.behind:,} of {self.timed:,}; {done} ({self._first['behind']}){hint}"
            )
        if self.cut:
            done = "kept as they are, and shown up to the end"
            notes[f"{split}: times that end after the video"] = (
                f"{self.cut:,} of {self.timed:,}; {done} ({self._first['cut']})"
            )
        return notes


def _timed(record: Record) -> Iterator[tuple[str, float, float]]:
    for number, caption in enumerate(record.captions, 1):
        if caption.start >= 0:
            yield f"caption {number}", caption.start, caption.end
    for number, action in enumerate(record.actions, 1):
        if action.start >= 0:
            yield f"action {number}", action.start, action.end
