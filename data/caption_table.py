"""On-disk table that groups millions of captions by video and segment, and needs no cleanup."""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from svilm_jax.input.schema import Caption, Record

from .official import Wanted

MICROSECONDS = 1_000_000

_SCHEMA = """
CREATE TABLE video (number INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE caption (number INTEGER PRIMARY KEY, video INTEGER, start INTEGER, end INTEGER, text TEXT, said REAL,
  until REAL);
"""


class Said(NamedTuple):
    """One caption of an annotation file.

    Attributes:
      video: name of the file without ending.
      part: (start, end) microseconds of the video that are one record; None: the whole of it is.
      text: not empty.
      start, end: seconds from the start of the part; -1: it speaks of all of it.
    """

    video: str
    part: tuple[int, int] | None
    text: str
    start: float = -1.0
    end: float = -1.0


class LeftOut:
    """Counts captions that are left out because they say nothing, and remembers where the first of a kind stood."""

    def __init__(self) -> None:
        self._met: dict[str, tuple[int, str]] = {}

    def add(self, what: str, where: str) -> None:
        """One more of `what`."""
        count, first = self._met.get(what, (0, where.rpartition("/")[2]))  # not the folders of this machine
        self._met[what] = count + 1, first

    def notes(self) -> dict[str, str]:
        """For people."""
        return {what: f"{count:,}, left out (first: {first})" for what, (count, first) in self._met.items()}


class CaptionTable(Collection[Wanted]):
    """What annotation files want of each video, for any number of captions.

    The parts of a video stand together, in order of time; videos and the captions of a part in the order in which they
    were added. The table is SQLite's kind of temporary file: in $SQLITE_TMPDIR, else $TMPDIR, else /var/tmp, and gone
    with this process. It takes about 50 bytes and the text for each caption.
    """

    def __init__(self, cut_names: Callable[[str, int, int], tuple[str, ...]] | None = None):
        """`cut_names`: of a video's name, start and end in microseconds: by which names that part goes, already cut."""
        self._cut_names = cut_names
        self._table = sqlite3.connect("", isolation_level=None)
        # 64 MiB of cache, however large the table: SQLite's own 2 MiB make it read from disk twice as often.
        setup = "PRAGMA temp_store=FILE; PRAGMA journal_mode=OFF; PRAGMA cache_size=-65536;"
        self._table.executescript(f"{setup} {_SCHEMA} BEGIN;")
        self._records: int | None = None

    def add(self, captions: Iterable[Said]) -> None:
        """Takes in captions, which are read as a stream."""
        self._table.executemany(
            "INSERT INTO caption (video, start, end, text, said, until) VALUES (?, ?, ?, ?, ?, ?)",
            self._numbered(captions),
        )
        self._table.execute("CREATE INDEX IF NOT EXISTS part ON caption(video, start, end)")
        self._records = None

    @property
    def videos(self) -> int:
        """How many there are."""
        return self._count("video")

    @property
    def captions(self) -> int:
        """How many there are."""
        return self._count("caption")

    def __len__(self) -> int:
        if self._records is None:
            self._records = self._count("(SELECT 1 FROM caption GROUP BY video, start, end)")
        return self._records

    def __iter__(self) -> Iterator[Wanted]:
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

    def _wanted(self, name: str, start: int | None, end: int | None, captions: list[Caption]) -> Wanted:
        if start is None or end is None:
            return Wanted(Record(id=name, video=b"", captions=tuple(captions)), (name,))
        record = Record(id=f"{name}_{start}_{end}", video=b"", captions=tuple(captions), group=name)
        cut = self._cut_names(name, start, end) if self._cut_names is not None else ()
        return Wanted(record, (name,), (start / MICROSECONDS, end / MICROSECONDS), cut)

    def _numbered(self, captions: Iterable[Said]) -> Iterator[tuple[object, ...]]:
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
