"""On-disk catalog of video files and their captions, for any number of rows.

Rows of one video may be anywhere in an annotation file and must be grouped; an SQLite file does that in little memory.
"""

import contextlib
import dataclasses
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from svilm_data.annotations.captions.text import CaptionCleaner
from svilm_data.annotations.entries import Entry
from svilm_data.datasets.captioned_videos import fields
from svilm_data.datasets.captioned_videos.rows import AnnotationRow
from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.video_folder import list_files, path_inside, without_ending

from svilm_jax.input.schema import Caption, Record
from svilm_jax.video.folders import SkippedVideo

MAX_LISTED = 5  # names that a note or an error lists

_SCHEMA = """
CREATE TABLE file (path TEXT PRIMARY KEY, stem TEXT, name TEXT, name_stem TEXT, video INTEGER) WITHOUT ROWID;
CREATE TABLE video (number INTEGER PRIMARY KEY, path TEXT UNIQUE, id TEXT, split TEXT, split_where TEXT);
CREATE TABLE caption (number INTEGER PRIMARY KEY, video INTEGER, text TEXT, start REAL, end REAL);
"""


@dataclasses.dataclass(frozen=True)
class CatalogSplit:
    """The videos of one split, in the order of their first row in the annotation file; queried at each iteration."""

    catalog: "Catalog"
    name: str
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Entry]:
        return self.catalog.entries(self.name)

    def __contains__(self, entry: object) -> bool:
        return any(entry == other for other in self)


class Catalog:
    """Files of a folder, and their captions from an annotation file."""

    def __init__(self, folder: Path, database: Path):
        """Lists the files.

        Args:
          folder: folder of videos.
          database: SQLite file to create.

        Raises:
          PreparationError: `folder` is not a folder.
        """
        if not folder.is_dir():
            raise PreparationError(f"--videos {folder}: no such folder")
        self.folder, self._left_out = folder, SkippedVideo()
        self._texts = CaptionCleaner()
        self._table = sqlite3.connect(database, isolation_level=None)
        # A temporary file: a crash needs no recovery.
        self._table.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_SCHEMA} BEGIN;")
        self._table.executemany("INSERT INTO file VALUES (?, ?, ?, ?, ?)", list_files(folder, self._left_out))
        self._table.executescript(
            "CREATE INDEX file_stem ON file(stem); CREATE INDEX file_name ON file(name);"
            "CREATE INDEX file_name_stem ON file(name_stem); CREATE INDEX caption_video ON caption(video);"
            "CREATE INDEX video_id ON video(id);"
        )

    def close(self) -> None:
        """Closes the database file."""
        self._table.close()

    def add(self, rows: Iterable[AnnotationRow], validation_fraction: float) -> None:
        """Adds the rows of an annotation file.

        Args:
          rows: rows of the file, read as a stream.
          validation_fraction: fraction of videos without a given split that go to validation, chosen by their id.

        Raises:
          PreparationError: an invalid row; names file, line and field.
        """
        empty = True
        for row in rows:
            empty = False
            name = fields.video_name(row.fields, row.where)
            split = fields.split_name(row.fields, row.where)
            texts = fields.captions(row.fields, row.where, self._texts)
            number = self._video(name, split, row.where)
            self._table.executemany(
                "INSERT INTO caption (video, text, start, end) VALUES (?, ?, ?, ?)", [(number, *c) for c in texts]
            )
        if empty:
            raise PreparationError("--captions: the annotation file has no row")
        self._table.create_function(
            "assign_split",
            1,
            lambda record_id: "validation" if _hash_fraction(record_id) < validation_fraction else "train",
        )
        self._table.execute("UPDATE video SET split = assign_split(id) WHERE split = ''")

    def splits(self) -> dict[str, CatalogSplit]:
        """Returns the splits with their captioned videos, training first."""
        counts = dict(
            self._table.execute(
                "SELECT split, COUNT(*) FROM video WHERE number IN (SELECT video FROM caption) GROUP BY split"
            )
        )
        return {
            name: CatalogSplit(self, name, counts[name]) for name in ("train", "validation", "test") if name in counts
        }

    def entries(self, split: str) -> Iterator[Entry]:
        """Yields the entries of a split."""
        cursor = self._table.execute(
            "SELECT v.number, v.id, v.path, c.text, c.start, c.end FROM video v JOIN caption c ON c.video = v.number "
            "WHERE v.split = ? ORDER BY v.number, c.number",
            (split,),
        )
        current, record_id, path, captions = None, "", "", list[Caption]()
        for number, new_record_id, new_path, text, start, end in cursor:
            if number != current:
                if current is not None:
                    yield self._entry(record_id, path, captions)
                current, record_id, path, captions = number, new_record_id, new_path, []
            captions.append(Caption(text, (), start, end))
        if current is not None:
            yield self._entry(record_id, path, captions)

    def notes(self) -> dict[str, str]:
        """Returns what was left out, and why, as text."""
        notes = self._left_out.notes()
        unnamed = (
            "FROM file WHERE video AND path NOT IN (SELECT v.path FROM video v JOIN caption c ON c.video = v.number)"
        )
        count = self._table.execute(f"SELECT COUNT(*) {unnamed}").fetchone()[0]
        if count:
            names = [row[0] for row in self._table.execute(f"SELECT path {unnamed} ORDER BY path LIMIT {MAX_LISTED}")]
            notes["videos without a caption"] = f"{count} ({', '.join(names)}{', ...' if count > MAX_LISTED else ''})"
        return notes | self._texts.issues.notes()

    def _entry(self, record_id: str, path: str, captions: list[Caption]) -> Entry:
        return Entry(Record(id=record_id, video=b"", captions=tuple(captions)), self.folder / path)

    def _video(self, name: str, split: str, where: str) -> int:
        """Returns the number of the video that a row names, registering it on first occurrence."""
        path = self._resolve(name, where)
        known = self._table.execute("SELECT number, split, split_where FROM video WHERE path = ?", (path,)).fetchone()
        if known is None:
            values = (path, self._record_id(path), split, where)
            cursor = self._table.execute("INSERT INTO video (path, id, split, split_where) VALUES (?, ?, ?, ?)", values)
            return int(cursor.lastrowid or 0)
        number, before, before_where = known
        if split != before:
            raise PreparationError(
                f"{where}, field 'split': {name!r} is in {split or 'no split'} here and in {before or 'no split'} at "
                f"{before_where.rpartition(': ')[2]}: a video must be in one split"
            )
        return int(number)

    def _resolve(self, name: str, where: str) -> str:
        """Returns the path relative to the folder; as written in the row if there is no such file."""
        where = f"{where}, field of the video"
        path = path_inside(self.folder, name, where).relative_to(self.folder).as_posix()
        # The most exact match first: whole path, path without its ending, file name in any subfolder, and that without
        # its ending. A name without an ending matches videos first, and other files only if there is no video.
        for column, videos_only in (
            ("path", False),
            ("stem", True),
            ("name", False),
            ("name_stem", True),
            ("stem", False),
            ("name_stem", False),
        ):
            found = self._table.execute(
                f"SELECT path FROM file WHERE {column} = ? {'AND video' if videos_only else ''} ORDER BY path LIMIT 3",
                (path,),
            ).fetchall()
            if len(found) > 1:
                matches = " and ".join(repr(row[0]) for row in found[:2]) + (" and others" if len(found) > 2 else "")
                raise PreparationError(f"{where}: {name!r} matches {matches}: give the path below the folder of videos")
            if found:
                path_inside(self.folder, found[0][0], where)
                return str(found[0][0])
        return path

    def _record_id(self, path: str) -> str:
        """Returns the path without its ending, unless another video has the same."""
        stem = without_ending(path)
        others = self._table.execute(
            "SELECT 1 FROM file WHERE stem = ? AND path != ? AND video "
            "UNION ALL SELECT 1 FROM video WHERE id = ? LIMIT 1",
            (stem, path, stem),
        )
        return stem if others.fetchone() is None else path


@contextlib.contextmanager
def open_catalog(folder: Path, database: Path) -> Iterator[Catalog]:
    """Creates a `Catalog` that is closed at the end."""
    catalog = Catalog(folder, database)
    try:
        yield catalog
    finally:
        catalog.close()


def _hash_fraction(record_id: str) -> float:
    """Returns a number in [0, 1) that depends only on the id: adding videos moves no others to another split."""
    return int.from_bytes(hashlib.sha256(record_id.encode("utf-8")).digest()[:8], "big") / 2**64
