"""On-disk journal of completed work, from which an interrupted preparation resumes.

A result is keyed by its inputs: the path, size and modification time of a video with everything that determines its
re-encoding, or the texts that were parsed together. Changed inputs are therefore processed again, and the output of an
interrupted preparation equals that of an uninterrupted one.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .entries import Entry
from .errors import PreparationError
from .transcoding import Encoding

_SCHEMA = """
CREATE TABLE IF NOT EXISTS video (split TEXT, number INTEGER, source BLOB, frames INTEGER, seconds REAL, bytes INTEGER,
  id TEXT, file TEXT, reason TEXT, PRIMARY KEY (split, number)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unusable ON video(split, number) WHERE reason != '';
CREATE TABLE IF NOT EXISTS phrases (texts BLOB PRIMARY KEY, found TEXT) WITHOUT ROWID;
"""


class Result(NamedTuple):
    """What the check of one video came to.

    Attributes:
      frames: what the header of the file for the record claims, 0 where it does not say.
      seconds: that it lasts.
      bytes: of it.
      reason: why the video is of no use; "" where it is.
    """

    frames: int
    seconds: float
    bytes: int
    reason: str


class Journal:
    """The results of one preparation, each on disk as soon as it is noted; re-encoded files lie beside it."""

    def __init__(self, folder: Path):
        """Opens what `folder` holds, or begins; raises `PreparationError` where it cannot be written."""
        self.folder = folder
        self.encoded = folder / "encoded"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._table = _opened(folder / "journal.sqlite")
        except (OSError, sqlite3.OperationalError) as error:
            raise PreparationError(f"{folder}: cannot be written ({error}); give another --out") from error
        except sqlite3.DatabaseError:  # of a machine that lost power, at worst: everything once more
            shutil.rmtree(folder)
            folder.mkdir()
            self._table = _opened(folder / "journal.sqlite")

    def close(self) -> None:
        """Lets go of the file; a journal that holds nothing is removed."""
        held = self._table.execute("SELECT EXISTS(SELECT 1 FROM video) OR EXISTS(SELECT 1 FROM phrases)").fetchone()[0]
        self._table.close()
        if not held:
            self.remove()

    def remove(self) -> None:
        """Removes everything, re-encoded files too."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def begin(self, splits: dict[str, int]) -> None:
        """Forgets videos of splits, or beyond numbers of videos, that no longer are."""
        known = [row[0] for row in self._table.execute("SELECT DISTINCT split FROM video")]
        for split in known:
            self._table.execute("DELETE FROM video WHERE split = ? AND number >= ?", (split, splits.get(split, 0)))

    def holds(self, split: str) -> bool:
        """Whether any video of a split was checked before."""
        return bool(self._table.execute("SELECT EXISTS(SELECT 1 FROM video WHERE split = ?)", (split,)).fetchone()[0])

    def checked(self, split: str, number: int, source: bytes) -> Result | None:
        """The result for a video made from `source`; None: not known."""
        row = self._table.execute(
            "SELECT source, frames, seconds, bytes, reason FROM video WHERE split = ? AND number = ?", (split, number)
        ).fetchone()
        return Result(*row[1:]) if row is not None and row[0] == source else None

    def note_checked(self, split: str, number: int, source: bytes, entry_id: str, file: str, result: Result) -> None:
        """Notes the result for a video."""
        values = (split, number, source, result.frames, result.seconds, result.bytes, entry_id, file, result.reason)
        self._table.execute("INSERT OR REPLACE INTO video VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def skipped(self, splits: Iterable[str]) -> Iterator[dict[str, str]]:
        """Split, video (id), file and reason of each unusable video, in order, split by split."""
        for split in splits:
            for row in self._table.execute(
                "SELECT split, id, file, reason FROM video WHERE split = ? AND reason != '' ORDER BY number", (split,)
            ):
                yield dict(zip(("split", "video", "file", "reason"), row, strict=True))

    def phrases(self, texts: bytes) -> list[list[str]] | None:
        """The phrases of texts that were parsed together, by `source_of_texts`; None: not known."""
        row = self._table.execute("SELECT found FROM phrases WHERE texts = ?", (texts,)).fetchone()
        return None if row is None else json.loads(row[0])

    def note_phrases(self, texts: bytes, found: Sequence[Sequence[str]]) -> None:
        """Notes the phrases of texts that were parsed together."""
        values = (texts, json.dumps(found, ensure_ascii=False, separators=(",", ":")))
        self._table.execute("INSERT OR REPLACE INTO phrases VALUES (?, ?)", values)


@contextlib.contextmanager
def journal(folder: Path) -> Iterator[Journal]:
    """A `Journal` that is closed at the end, and kept unless it was removed."""
    opened = Journal(folder)
    try:
        yield opened
    finally:
        opened.close()


def source_of_video(entry: Entry, encoding: Encoding) -> bytes:
    """What decides the result for a video: bytes [16]."""
    try:
        stat = entry.video.stat()
        state: tuple[int, ...] = (stat.st_size, stat.st_mtime_ns)
    except OSError:
        state = ()
    decides = [str(entry.video.absolute()), state, encoding.short_side, encoding.fps, entry.window, _ENCODER]
    return _digest(decides)


def source_of_texts(texts: Sequence[str], parser: Any) -> bytes:
    """What decides the phrases of texts: bytes [16]; `parser`: JSON values that name it."""
    return _digest([texts, parser])


# FFmpeg comes with PyAV; the number after it changes with what our own code makes of a video.
_ENCODER = importlib.metadata.version("av") + "/2"


def _digest(value: Any) -> bytes:
    return hashlib.sha256(json.dumps(value).encode("utf-8")).digest()[:16]


def _opened(path: Path) -> sqlite3.Connection:
    table = sqlite3.connect(path, isolation_level=None)
    # Each result is there once its call is over, for a process that is killed and, but for the last ones, for a
    # machine too. Exclusive, because a write-ahead log that is shared wants memory that network folders do not share.
    table.executescript(f"PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {_SCHEMA}")
    return table
