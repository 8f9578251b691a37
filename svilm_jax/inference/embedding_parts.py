"""Parts of an interrupted embedding run: rows of finished videos, saved every few seconds and merged at the end."""

import contextlib
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from svilm_jax.inference import feature_file
from svilm_jax.inference.feature_file import IndexFileError, IndexOrigin, VideoRows
from svilm_jax.inference.video_files import VideoFile

MAX_LISTED = 5  # videos named in an error or a summary
_PART_SECONDS, _PART_ROWS = 20.0, 8192  # upper bounds of the work lost by a kill, and of the rows in memory
_IDENTITY = ("video", "size", "mtime_ns")


class EmbeddingParts:
    """Finished rows of an output file and of the parts next to it."""

    def __init__(self, out: Path, origin: IndexOrigin):
        """Reads nothing yet; `out` is the output file, `origin` describes its rows."""
        self._out, self._origin = out, origin
        self._folder = out.with_name(f"{out.name}.parts")
        self._waiting: list[VideoRows] = []
        self._since = time.monotonic()

    def finished(self) -> set[tuple[str, int, int]]:
        """Returns (path, size, mtime_ns) of every video whose rows are complete."""
        videos: set[tuple[str, int, int]] = set()
        for file in self._files():
            self._check(file)
            for rows in feature_file.batches(file):
                videos.update(zip(*(rows.column(name).to_pylist() for name in _IDENTITY), strict=True))
        return videos

    def add(self, rows: VideoRows) -> None:
        """Adds the rows of one more video."""
        self._waiting.append(rows)
        waited = time.monotonic() - self._since
        if waited > _PART_SECONDS or sum(len(video.spans) for video in self._waiting) > _PART_ROWS:
            self.flush()

    def flush(self) -> None:
        """Writes pending rows as one more part."""
        if self._waiting:
            taken = [int(file.stem) for file in self._folder.glob("[0-9]*.parquet")]
            part = self._folder / f"{max(taken, default=0) + 1:05d}.parquet"
            with self._report_kept_videos():
                self._folder.mkdir(exist_ok=True)
                feature_file.write(part, [feature_file.batch(self._waiting, self._origin)], self._origin)
        self._waiting, self._since = [], time.monotonic()

    def merge(self, videos: Iterable[VideoFile]) -> tuple[int, int]:
        """Writes the output from the parts and removes them; returns its numbers of videos and rows.

        Raises:
          IndexFileError: rows of some videos are missing; the parts are kept.
        """
        expected = {(video.path, video.size, video.mtime_ns) for video in videos}
        written: set[tuple[str, int, int]] = set()
        count = 0

        def rows() -> Iterator[pa.RecordBatch]:
            nonlocal count
            for file in self._files():
                here: set[tuple[str, int, int]] = set()
                for batch in feature_file.batches(file):
                    keys = list(zip(*(batch.column(name).to_pylist() for name in _IDENTITY), strict=True))
                    here.update(keys)
                    # Rows of a video are in one file; a video in two files is written once.
                    keep = [key in expected and key not in written for key in keys]
                    chosen = pc.filter(batch, pa.array(keep, pa.bool_())).replace_schema_metadata(
                        feature_file.schema(self._origin).metadata
                    )
                    count += chosen.num_rows
                    if chosen.num_rows:
                        yield chosen
                written.update(here & expected)
            if missing := sorted(path for path, _, _ in expected - written):
                raise IndexFileError(
                    f"{self._folder}: rows of {len(missing)} videos are missing: {format_paths(missing)}; they were "
                    "removed by another program. The same command embeds them again"
                )

        with self._report_kept_videos():
            feature_file.write(self._out, rows(), self._origin)
        shutil.rmtree(self._folder, ignore_errors=True)
        return len(written), count

    @contextlib.contextmanager
    def _report_kept_videos(self) -> Iterator[None]:
        """Adds the number of kept videos to write errors."""
        try:
            yield
        except (OSError, IndexFileError) as error:
            raise IndexFileError(
                f"{error}. {len(self.finished())} finished videos are kept (in {self._folder}, and in {self._out.name} "
                "from before); the same command resumes"
            ) from error

    def _files(self) -> list[Path]:
        """Returns the files with rows: an existing output, then the parts."""
        return [*([self._out] if self._out.is_file() else []), *sorted(self._folder.glob("[0-9]*.parquet"))]

    def _check(self, file: Path) -> None:
        existing, mine = feature_file.read_origin(file), self._origin
        if (existing.fingerprint, existing.width) != (mine.fingerprint, mine.width):
            raise IndexFileError(
                f"{file}: was written by {existing.parameters}, not {mine.parameters}: give another --out, or remove it"
            )
        if existing.model_fingerprint not in ("", mine.model_fingerprint):
            raise IndexFileError(
                f"{file}: made by a model with the same parameters, but another model config or tokenizer (fingerprint "
                f"{existing.model_fingerprint}, now {mine.model_fingerprint}): give another --out, or remove it"
            )
        if (existing.window, existing.stride) != (mine.window, mine.stride):
            raise IndexFileError(
                f"{file}: has rows of {_kind(existing)}, not {_kind(mine)}: give another --out, or remove it"
            )


def _kind(origin: IndexOrigin) -> str:
    return "whole videos" if origin.window is None else f"windows of {origin.window:g} s every {origin.stride:g} s"


def format_paths(paths: Sequence[str]) -> str:
    """Formats the first paths, and the number of others."""
    more = f" and {len(paths) - MAX_LISTED} more" if len(paths) > MAX_LISTED else ""
    return ", ".join(paths[:MAX_LISTED]) + more
