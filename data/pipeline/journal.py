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
      frames: number of frames as stated by the header of the file; 0: unknown.
      seconds: duration of the video.
      bytes: size of the file.
      reason: why the video is unusable; "" if it is usable.
    """

    frames: int
    seconds: float
    bytes: int
    reason: str


class Journal:
    """Results of one preparation, each on disk as soon as it is recorded; re-encoded files are in the same folder.

    Attributes:
      folder: folder of the journal.
      encoded: folder of re-encoded files.
    """

    def __init__(self, folder: Path):
        """Opens or creates the journal in `folder`; raises `PreparationError` if it cannot be written."""
        self.folder = folder
        self.encoded = folder / "encoded"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._table = _open(folder / "journal.sqlite")
        except (OSError, sqlite3.OperationalError) as error:
            raise PreparationError(f"{folder}: cannot be written ({error}); give another --out") from error
        except sqlite3.DatabaseError:  # such as after a power failure: all work is repeated
            shutil.rmtree(folder)
            folder.mkdir()
            self._table = _open(folder / "journal.sqlite")

    def close(self) -> None:
        """Closes the file; an empty journal is removed."""
        used = self._table.execute("SELECT EXISTS(SELECT 1 FROM video) OR EXISTS(SELECT 1 FROM phrases)").fetchone()[0]
        self._table.close()
        if not used:
            self.remove()

    def remove(self) -> None:
        """Removes everything, re-encoded files too."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def begin(self, splits: dict[str, int]) -> None:
        """Removes results of splits and of video numbers that no longer exist; `splits`: name -> number of videos."""
        known = [row[0] for row in self._table.execute("SELECT DISTINCT split FROM video")]
        for split in known:
            self._table.execute("DELETE FROM video WHERE split = ? AND number >= ?", (split, splits.get(split, 0)))

    def has_split(self, split: str) -> bool:
        """Returns whether any video of a split was checked before."""
        return bool(self._table.execute("SELECT EXISTS(SELECT 1 FROM video WHERE split = ?)", (split,)).fetchone()[0])

    def checked(self, split: str, number: int, source: bytes) -> JobResult | None:
        """Returns the result for a video made from `source`; None: unknown."""
        row = self._table.execute(
            "SELECT source, frames, seconds, bytes, reason FROM video WHERE split = ? AND number = ?", (split, number)
        ).fetchone()
        return JobResult(*row[1:]) if row is not None and row[0] == source else None

    def record_check(self, split: str, number: int, source: bytes, entry_id: str, file: str, result: JobResult) -> None:
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
        """Returns the phrases of texts that were parsed together, by `texts_key`; None: unknown."""
        row = self._table.execute("SELECT found FROM phrases WHERE texts = ?", (texts,)).fetchone()
        return None if row is None else json.loads(row[0])

    def record_phrases(self, texts: bytes, found: Sequence[Sequence[str]]) -> None:
        """Records the phrases of texts that were parsed together."""
        values = (texts, json.dumps(found, ensure_ascii=False, separators=(",", ":")))
        self._table.execute("INSERT OR REPLACE INTO phrases VALUES (?, ?)", values)


@contextlib.contextmanager
def open_journal(folder: Path) -> Iterator[Journal]:
    """Opens a `Journal`, and closes it at the end; it is kept unless it was removed."""
    journal = Journal(folder)
    try:
        yield journal
    finally:
        journal.close()


def video_key(entry: Entry, encoding: EncodingOptions) -> bytes:
    """Returns the key of a video's result: bytes [16]."""
    try:
        stat = entry.video.stat()
        state: tuple[int, ...] = (stat.st_size, stat.st_mtime_ns)
    except OSError:
        state = ()
    inputs = [str(entry.video.absolute()), state, encoding.short_side, encoding.fps, entry.window, _ENCODER]
    return _digest(inputs)


def texts_key(texts: Sequence[str], parser: Any) -> bytes:
    """Returns the key of the phrases of texts: bytes [16]; `parser`: JSON values that identify it."""
    return _digest([texts, parser])


# PyAV includes FFmpeg; the number after its version changes with this package's own processing of a video.
_ENCODER = importlib.metadata.version("av") + "/2"


def _digest(value: Any) -> bytes:
    return hashlib.sha256(json.dumps(value).encode("utf-8")).digest()[:16]


def _open(path: Path) -> sqlite3.Connection:
    table = sqlite3.connect(path, isolation_level=None)
    # Each result survives a kill once its call returns; if the machine fails, all but the last ones survive.
    # Exclusive, because a shared write-ahead log needs shared memory, which network folders do not provide.
    table.executescript(f"PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {_SCHEMA}")
    return table
