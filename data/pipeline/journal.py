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

from svilm_data.annotations.entries import Entry
from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.transcoding import EncodingOptions

_SCHEMA = """
CREATE TABLE IF NOT EXISTS video (split TEXT, number INTEGER, source BLOB, frames INTEGER, seconds REAL, bytes INTEGER,
  id TEXT, file TEXT, reason TEXT, PRIMARY KEY (split, number)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unusable ON video(split, number) WHERE reason != '';
CREATE TABLE IF NOT EXISTS phrases (texts BLOB PRIMARY KEY, found TEXT) WITHOUT ROWID;
"""


class JobResult(NamedTuple):
    """Result of checking one video.

    Attributes:
      frames: as stated by the header of the record's file, 0 if it does not say.
      seconds: its duration.
      bytes: its size.
      reason: why the video is unusable; "" if it is usable.
    """

    frames: int
    seconds: float
    bytes: int
    reason: str


class Journal:
    """Results of one preparation, each on disk as soon as it is recorded; re-encoded files are in the same folder."""

    def __init__(self, folder: Path):
        """Opens or creates the journal in `folder`; raises `PreparationError` if it cannot be written."""
        self.folder = folder
        self.encoded = folder / "encoded"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._table = _opened(folder / "journal.sqlite")
        except (OSError, sqlite3.OperationalError) as error:
            raise PreparationError(f"{folder}: cannot be written ({error}); give another --out") from error
        except sqlite3.DatabaseError:  # e.g. after a power failure: all work is repeated
            shutil.rmtree(folder)
            folder.mkdir()
            self._table = _opened(folder / "journal.sqlite")

    def close(self) -> None:
        """Closes the file; an empty journal is removed."""
        held = self._table.execute("SELECT EXISTS(SELECT 1 FROM video) OR EXISTS(SELECT 1 FROM phrases)").fetchone()[0]
        self._table.close()
        if not held:
            self.remove()

    def remove(self) -> None:
        """Removes everything, re-encoded files too."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def begin(self, splits: dict[str, int]) -> None:
        """Removes videos of splits, or beyond numbers of videos, that no longer exist."""
        known = [row[0] for row in self._table.execute("SELECT DISTINCT split FROM video")]
        for split in known:
            self._table.execute("DELETE FROM video WHERE split = ? AND number >= ?", (split, splits.get(split, 0)))

    def holds(self, split: str) -> bool:
        """Returns whether any video of a split was checked before."""
        return bool(self._table.execute("SELECT EXISTS(SELECT 1 FROM video WHERE split = ?)", (split,)).fetchone()[0])

    def checked(self, split: str, number: int, source: bytes) -> JobResult | None:
        """Returns the result for a video made from `source`; None: unknown."""
        row = self._table.execute(
            "SELECT source, frames, seconds, bytes, reason FROM video WHERE split = ? AND number = ?", (split, number)
        ).fetchone()
        return JobResult(*row[1:]) if row is not None and row[0] == source else None

    def note_checked(self, split: str, number: int, source: bytes, entry_id: str, file: str, result: JobResult) -> None:
        """Records the result for a video."""
        values = (split, number, source, result.frames, result.seconds, result.bytes, entry_id, file, result.reason)
        self._table.execute("INSERT OR REPLACE INTO video VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def skipped(self, splits: Iterable[str]) -> Iterator[dict[str, str]]:
        """Yields split, video (id), file and reason of each unusable video, in order, split by split."""
        for split in splits:
            for row in self._table.execute(
                "SELECT split, id, file, reason FROM video WHERE split = ? AND reason != '' ORDER BY number", (split,)
            ):
                yield dict(zip(("split", "video", "file", "reason"), row, strict=True))

    def phrases(self, texts: bytes) -> list[list[str]] | None:
        """Returns the phrases of texts that were parsed together, by `source_of_texts`; None: unknown."""
        row = self._table.execute("SELECT found FROM phrases WHERE texts = ?", (texts,)).fetchone()
        return None if row is None else json.loads(row[0])

    def note_phrases(self, texts: bytes, found: Sequence[Sequence[str]]) -> None:
        """Records the phrases of texts that were parsed together."""
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


def source_of_video(entry: Entry, encoding: EncodingOptions) -> bytes:
    """Returns the key of a video's result: bytes [16]."""
    try:
        stat = entry.video.stat()
        state: tuple[int, ...] = (stat.st_size, stat.st_mtime_ns)
    except OSError:
        state = ()
    decides = [str(entry.video.absolute()), state, encoding.short_side, encoding.fps, entry.window, _ENCODER]
    return _digest(decides)


def source_of_texts(texts: Sequence[str], parser: Any) -> bytes:
    """Returns the key of the phrases of texts: bytes [16]; `parser`: JSON values that identify it."""
    return _digest([texts, parser])


# FFmpeg comes with PyAV; the number after it changes with our own processing of a video.
_ENCODER = importlib.metadata.version("av") + "/2"


def _digest(value: Any) -> bytes:
    return hashlib.sha256(json.dumps(value).encode("utf-8")).digest()[:16]


def _opened(path: Path) -> sqlite3.Connection:
    table = sqlite3.connect(path, isolation_level=None)
    # Each result survives a kill once its call returns; if the machine fails, all but the last ones survive.
    # Exclusive, because a shared write-ahead log needs shared memory, which network folders do not provide.
    table.executescript(f"PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {_SCHEMA}")
    return table
