"""On-disk table that groups millions of captions by video and segment, and needs no cleanup."""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from svilm_data.annotations.published_dataset import VideoAnnotation

from svilm_jax.input.schema import Caption, Record

MICROSECONDS = 1_000_000

_SCHEMA = """
CREATE TABLE video (number INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE caption (number INTEGER PRIMARY KEY, video INTEGER, start INTEGER, end INTEGER, text TEXT, said REAL,
  until REAL);
"""


class SegmentCaptions(NamedTuple):
    """One caption of an annotation file.

    Attributes:
      video: file name without ending.
      part: (start, end) in microseconds of the segment that becomes one record; None: the whole video.
      text: not empty.
      start, end: seconds from the start of the segment; -1: it describes all of it.
    """

    video: str
    part: tuple[int, int] | None
    text: str
    start: float = -1.0
    end: float = -1.0


class SkippedCaptions:
    """Counts omitted captions by kind, with the location of the first of each."""

    def __init__(self) -> None:
        self._met: dict[str, tuple[int, str]] = {}

    def add(self, what: str, where: str) -> None:
        """Adds one of kind `what`."""
        count, first = self._met.get(what, (0, where.rpartition("/")[2]))  # not the folders of this machine
        self._met[what] = count + 1, first

    def notes(self) -> dict[str, str]:
        """Returns the counts as text."""
        return {what: f"{count:,}, left out (first: {first})" for what, (count, first) in self._met.items()}


class CaptionTable(Collection[VideoAnnotation]):
    """Captions and segments of each video, for any number of captions.

    Segments of a video are adjacent, in temporal order; videos, and the captions of a segment, are in insertion order.
    The table is an SQLite temporary file in $SQLITE_TMPDIR, else $TMPDIR, else /var/tmp, and disappears with this
    process. It takes about 50 bytes plus the text per caption.
    """

    def __init__(self, cut_names: Callable[[str, int, int], tuple[str, ...]] | None = None):
        """`cut_names`: (video name, start, end in microseconds) -> file names of that segment if it is already cut."""
        self._cut_names = cut_names
        self._table = sqlite3.connect("", isolation_level=None)
        # 64 MiB of cache for any table size: SQLite's default of 2 MiB reads from disk twice as often.
        setup = "PRAGMA temp_store=FILE; PRAGMA journal_mode=OFF; PRAGMA cache_size=-65536;"
        self._table.executescript(f"{setup} {_SCHEMA} BEGIN;")
        self._records: int | None = None

    def add(self, captions: Iterable[SegmentCaptions]) -> None:
        """Adds captions, read as a stream."""
        self._table.executemany(
            "INSERT INTO caption (video, start, end, text, said, until) VALUES (?, ?, ?, ?, ?, ?)",
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
            "SELECT c.video, c.start, c.end, v.name, c.text, c.said, c.until FROM caption c INDEXED BY part "
            "CROSS JOIN video v ON v.number = c.video ORDER BY c.video, c.start, c.end, c.number"
        )
        current, name, captions = None, "", list[Caption]()
        for *key, new_name, text, start, end in rows:
            if key != current:
                if current is not None:
                    yield self._wanted(name, current[1], current[2], captions)
                current, name, captions = key, new_name, []
            captions.append(Caption(text, (), start, end))
        if current is not None:
            yield self._wanted(name, current[1], current[2], captions)

    def __contains__(self, wanted: object) -> bool:
        return any(wanted == other for other in self)

    def _wanted(self, name: str, start: int | None, end: int | None, captions: list[Caption]) -> VideoAnnotation:
        if start is None or end is None:
            return VideoAnnotation(Record(id=name, video=b"", captions=tuple(captions)), (name,))
        record = Record(id=f"{name}_{start}_{end}", video=b"", captions=tuple(captions), group=name)
        cut = self._cut_names(name, start, end) if self._cut_names is not None else ()
        return VideoAnnotation(record, (name,), (start / MICROSECONDS, end / MICROSECONDS), cut)

    def _numbered(self, captions: Iterable[SegmentCaptions]) -> Iterator[tuple[object, ...]]:
        last, number = "", 0
        for said in captions:
            if said.video != last:
                last, number = said.video, self._number(said.video)
            start, end = said.part if said.part is not None else (None, None)
            yield number, start, end, said.text, said.start, said.end

    def _number(self, name: str) -> int:
        row = self._table.execute("SELECT number FROM video WHERE name = ?", (name,)).fetchone()
        if row is None:
            return int(self._table.execute("INSERT INTO video (name) VALUES (?)", (name,)).lastrowid or 0)
        return int(row[0])

    def _count(self, what: str) -> int:
        return int(self._table.execute(f"SELECT COUNT(*) FROM {what}").fetchone()[0])
