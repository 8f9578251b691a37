"""On-disk table that groups millions of captions by video and segment, and needs no cleanup."""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from svilm_data.annotations.published_dataset import VideoAnnotation

from svilm_jax.input.schema import Caption, Record

MICROSECONDS = 1_000_000

_SCHEMA = """
CREATE TABLE video (number INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE caption (number INTEGER PRIMARY KEY, video INTEGER, start INTEGER, end INTEGER, text TEXT,
  caption_start REAL, caption_end REAL);
"""


class SegmentCaption(NamedTuple):
    """One caption of an annotation file.

    Attributes:
      video: file name without ending.
      segment: (start, end) in microseconds of the segment that becomes one record; None: the whole video.
      text: the caption, not empty.
      start: seconds from the start of the segment; -1: the caption describes all of the segment.
      end: as `start`.
    """

    video: str
    segment: tuple[int, int] | None
    text: str
    start: float = -1.0
    end: float = -1.0


class CaptionTable(Collection[VideoAnnotation]):
    """Captions and segments of each video, for any number of captions.

    Segments of a video are adjacent, in temporal order; videos, and the captions of a segment, are in insertion order.
    The table is an SQLite temporary file in $SQLITE_TMPDIR, else $TMPDIR, else /var/tmp, and disappears with this
    process. It takes about 50 bytes plus the text per caption.
    """

    def __init__(self, cut_names: Callable[[str, int, int], tuple[str, ...]] | None = None):
        """Creates an empty table.

        Args:
          cut_names: (video name, start, end in microseconds) -> file names of that segment if it is already cut.
        """
        self._cut_names = cut_names
        self._table = sqlite3.connect("", isolation_level=None)
        # 64 MiB of cache for any table size: SQLite's default of 2 MiB reads from disk twice as often.
        setup = "PRAGMA temp_store=FILE; PRAGMA journal_mode=OFF; PRAGMA cache_size=-65536;"
        self._table.executescript(f"{setup} {_SCHEMA} BEGIN;")
        self._records: int | None = None

    def add(self, captions: Iterable[SegmentCaption]) -> None:
        """Adds captions, read as a stream."""
        self._table.executemany(
            "INSERT INTO caption (video, start, end, text, caption_start, caption_end) VALUES (?, ?, ?, ?, ?, ?)",
            self._numbered(captions),
        )
        self._table.execute("CREATE INDEX IF NOT EXISTS part ON caption(video, start, end)")
        self._records = None

    @property
    def videos(self) -> int:
        """Number of videos."""
        return self._count("video")

    @property
    def captions(self) -> int:
        """Number of captions."""
        return self._count("caption")

    def __len__(self) -> int:
        if self._records is None:
            self._records = self._count("(SELECT 1 FROM caption GROUP BY video, start, end)")
        return self._records

    def __iter__(self) -> Iterator[VideoAnnotation]:
        rows = self._table.execute(
            "SELECT c.video, c.start, c.end, v.name, c.text, c.caption_start, c.caption_end "
            "FROM caption c INDEXED BY part CROSS JOIN video v ON v.number = c.video "
            "ORDER BY c.video, c.start, c.end, c.number"
        )
        current, name, captions = None, "", list[Caption]()
        for *key, new_name, text, start, end in rows:
            if key != current:
                if current is not None:
                    yield self._annotation(name, current[1], current[2], captions)
                current, name, captions = key, new_name, []
            captions.append(Caption(text, (), start, end))
        if current is not None:
            yield self._annotation(name, current[1], current[2], captions)

    def __contains__(self, annotation: object) -> bool:
        return any(annotation == other for other in self)

    def _annotation(self, name: str, start: int | None, end: int | None, captions: list[Caption]) -> VideoAnnotation:
        if start is None or end is None:
            return VideoAnnotation(Record(id=name, video=b"", captions=tuple(captions)), (name,))
        record = Record(id=f"{name}_{start}_{end}", video=b"", captions=tuple(captions), group=name)
        cut = self._cut_names(name, start, end) if self._cut_names is not None else ()
        return VideoAnnotation(record, (name,), (start / MICROSECONDS, end / MICROSECONDS), cut)

    def _numbered(self, captions: Iterable[SegmentCaption]) -> Iterator[tuple[object, ...]]:
        last, number = "", 0
        for caption in captions:
            if caption.video != last:
                last, number = caption.video, self._number(caption.video)
            start, end = caption.segment if caption.segment is not None else (None, None)
            yield number, start, end, caption.text, caption.start, caption.end

    def _number(self, name: str) -> int:
        row = self._table.execute("SELECT number FROM video WHERE name = ?", (name,)).fetchone()
        if row is None:
            return int(self._table.execute("INSERT INTO video (name) VALUES (?)", (name,)).lastrowid or 0)
        return int(row[0])

    def _count(self, relation: str) -> int:
        return int(self._table.execute(f"SELECT COUNT(*) FROM {relation}").fetchone()[0])
