"""Embedding of many video files into one feature file: decoded ahead, embedded in batches, saved in parts.

Rows of finished videos are written to OUT.parts/00001.parquet and so on, one part every few seconds; at the end the
output is written from them in one piece and the parts are removed. An interrupted run is resumed by the same command,
and so is a run over a folder that has grown: rows of unchanged files, from the parts or from an existing output, are
reused. A lock next to the output excludes a second run.
"""

import collections
import contextlib
import dataclasses
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from svilm_jax.filesystem.locks import locked_output
from svilm_jax.filesystem.output_paths import check_output_file
from svilm_jax.inference import feature_file
from svilm_jax.inference.clip_input import read_clip
from svilm_jax.inference.feature_file import IndexFileError, IndexOrigin, VideoRows
from svilm_jax.inference.model import TrainedModel
from svilm_jax.inference.video_files import EmbeddingError, VideoFile, list_videos
from svilm_jax.input.clips import decoded_ahead
from svilm_jax.video.decoding import VideoError, probe
from svilm_jax.video.folders import SkippedVideo

__all__ = ["EmbeddingError", "EmbeddingSummary", "embed_files", "window_spans"]

log = logging.getLogger(__name__)

_DECODERS = 2  # threads
_AHEAD = 4  # clips per thread that wait for the model
_PART_SECONDS, _PART_ROWS = 20.0, 8192  # upper bounds of what a kill loses, and of what waits in memory
_NAMED = 5  # number of unreadable videos named in an error or summary


@dataclasses.dataclass(frozen=True)
class EmbeddingSummary:
    """Summary of an embedding run.

    Attributes:
      out: the output file.
      videos: number of videos in the file.
      rows: number of rows in the file.
      kept: number of videos whose rows were reused from an earlier run.
      failed: (path, reason) of videos that could not be read.
      removed: paths of videos of an earlier run whose rows were removed.
    """

    out: Path
    videos: int
    rows: int
    kept: int
    failed: tuple[tuple[str, str], ...]
    removed: tuple[str, ...] = ()

    def __str__(self) -> str:
        kept = f", {self.kept} of them from an earlier run" if self.kept else ""
        summary = f"{self.out}: {self.videos} videos{kept}, {self.rows} rows"
        if self.removed:
            summary += f"\nrows of {len(self.removed)} videos of an earlier run removed: {_some(self.removed)}"
        return summary + (f"\n{_failures(self.failed, self.videos + len(self.failed))}" if self.failed else "")


def embed_files(
    model: TrainedModel,
    model_path: str | Path,
    sources: Sequence[Path],
    out: Path,
    window: float | None = None,
    stride: float | None = None,
    prune: bool = False,
) -> EmbeddingSummary:
    """Embeds videos into one Parquet file (`feature_file`), which `svilm search` and `svilm serve` read.

    Args:
      model: of `svilm_jax.load`.
      model_path: where it was loaded from; recorded in the file.
      sources: video files, and folders searched recursively.
      out: the file to write; an existing one is updated: rows of unchanged videos are reused, and those of deleted
        files are removed.
      window, stride: seconds; a row is a window of a video, [k · stride, k · stride + window), the last one clipped to
        the end of the video, so that moments of long videos can be found. None, both: a row is a whole video.
      prune: also remove rows of videos that still exist, but are not among `sources`.

    Returns:
      A summary. Videos that cannot be read are in `failed` and in the log, and have no row.

    Raises:
      EmbeddingError: no videos, none that can be read, a window or stride that is not above 0, or rows that would have
        to be removed without `prune`.
      IndexFileError: `out` or its parts are of another model or of other windows, or cannot be written.
      OutputError: `out` is a folder or below a file.
      LockError: another process writes `out`.
    """
    if (window is None) != (stride is None):
        raise EmbeddingError("give both a window and a stride, or none of them for whole videos")
    if window is not None and stride is not None and not (0 < window < np.inf and 0 < stride < np.inf):
        raise EmbeddingError(f"a window of {window:g} s every {stride:g} s: expected both above 0")
    origin = IndexOrigin(
        str(Path(model_path).absolute()),
        model.fingerprint.parameters,
        model.config.model.embed_dim,
        window,
        stride,
        str(model.fingerprint),
    )
    check_output_file(out)
    left_out = SkippedVideo()
    videos = list_videos(sources, left_out)
    with locked_output(out):
        return _embed(model, origin, videos, left_out, out, prune)


def _embed(
    model: TrainedModel, origin: IndexOrigin, videos: list[VideoFile], left_out: SkippedVideo, out: Path, prune: bool
) -> EmbeddingSummary:
    parts = _Parts(out, origin)
    done = parts.finished()
    removed = _left_out({path for path, _, _ in done}, videos, out, prune)
    todo = [video for video in videos if (video.path, video.size, video.mtime_ns) not in done]
    failed: list[tuple[str, str]] = []
    with tqdm(total=len(videos), initial=len(videos) - len(todo), desc="embed", unit="video", disable=None) as bar:
        for rows in _embedded(model, todo, origin, failed, bar):
            parts.add(rows)
    parts.flush()
    if len(failed) == len(videos):
        raise EmbeddingError(_failures(failed, len(videos)))
    bad = {path for path, _ in failed}
    written, count = parts.merge([video for video in videos if video.path not in bad])
    return EmbeddingSummary(out, written, count, len(videos) - len(todo), (*left_out.files, *failed), removed)


def _left_out(done: set[str], videos: Iterable[VideoFile], out: Path, prune: bool) -> tuple[str, ...]:
    """Returns the paths of videos of an earlier run that are not among `videos`, whose rows are to be removed.

    Raises:
      EmbeddingError: some of them still exist, and `prune` is not set.
    """
    others = sorted(done - {video.path for video in videos})
    there = [path for path in others if os.path.lexists(path)]
    if there and not prune:
        raise EmbeddingError(
            f"{out}: holds rows of {len(there)} videos that are not among those named: {_some(there)}. Name them, too, "
            "give another --out, or remove their rows by --prune"
        )
    return tuple(others)


def window_spans(duration: float, window: float | None, stride: float | None) -> tuple[tuple[float, float], ...]:
    """Returns (start, end) in seconds of the rows of a video.

    Windows start every `stride` seconds until one reaches the end of the video, where it is clipped: no row is merely
    the tail of the previous one, and no second is left out unless the stride is longer than the window.
    """
    if window is None or stride is None:
        return ((0.0, duration),)
    spans: list[tuple[float, float]] = []
    start = 0.0
    while not spans or (start < duration and spans[-1][1] < duration):
        spans.append((start, min(start + window, duration)))
        start = len(spans) * stride
    return tuple(spans)


@dataclasses.dataclass(eq=False)
class _Work:
    """A video in progress. `error` is set if it is abandoned: part of a video would look like the whole of it."""

    video: VideoFile
    spans: tuple[tuple[float, float], ...] = ()
    rows: list[np.ndarray] = dataclasses.field(default_factory=list)
    error: str | None = None


def _embedded(
    model: TrainedModel, videos: Iterable[VideoFile], origin: IndexOrigin, failed: list[tuple[str, str]], bar: tqdm
) -> Iterator[VideoRows]:
    """Yields the rows of each readable video, in order; the others are added to `failed`."""
    config = model.config.model.video

    def opened(video: VideoFile) -> _Work:
        try:
            return _Work(video, window_spans(probe(video.path).duration, origin.window, origin.stride))
        except VideoError as error:
            return _Work(video, error=error.reason)

    def load(work: _Work, span: tuple[float, float] | None) -> tuple[_Work, np.ndarray | None]:
        if work.error is None and span is not None:
            # None instead of 0 to its duration, which is equivalent and `TrainedModel.embed_video`'s way to say it.
            start, end = (-1.0, -1.0) if origin.window is None else span
            try:
                return work, read_clip(work.video.path, config, start, end)
            except VideoError as error:
                work.error = error.reason
        return work, None

    def tasks() -> Iterator[tuple[_Work, tuple[float, float] | None]]:
        # One thread is enough to read headers ahead of the decoding threads.
        for work in decoded_ahead(opened, ((video,) for video in videos), 1, _AHEAD):
            yield from ((work, span) for span in work.spans or (None,))

    given: collections.deque[_Work] = collections.deque()  # whose clips are in the model, in order

    def clips() -> Iterator[np.ndarray]:
        announced: _Work | None = None
        for work, frames in decoded_ahead(load, tasks(), _DECODERS, _AHEAD):
            if frames is not None:
                given.append(work)
                yield frames
            elif work is not announced:
                announced = work
                log.warning("%s: left out: %s", work.video.path, work.error)
                failed.append((work.video.path, str(work.error)))
                bar.update()

    for reading in model.encoder.videos(clips(), ("embedding",)):
        work = given.popleft()
        work.rows.append(reading["embedding"])
        if len(work.rows) == len(work.spans):
            bar.update()
            video = work.video
            yield VideoRows(video.path, video.size, video.mtime_ns, work.spans, np.stack(work.rows))


class _Parts:
    """Finished rows next to the output."""

    def __init__(self, out: Path, origin: IndexOrigin):
        self._out, self._origin = out, origin
        self._folder = out.with_name(f"{out.name}.parts")
        self._waiting: list[VideoRows] = []
        self._since = time.monotonic()

    def finished(self) -> set[tuple[str, int, int]]:
        """Returns (path, size, mtime_ns) of every video whose rows are complete."""
        found: set[tuple[str, int, int]] = set()
        for file in self._files():
            self._check(file)
            for rows in feature_file.batches(file):
                found.update(zip(*(rows.column(name).to_pylist() for name in _IDENTITY), strict=True))
        return found

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
            with self._kept():
                self._folder.mkdir(exist_ok=True)
                feature_file.write(part, [feature_file.batch(self._waiting, self._origin)], self._origin)
        self._waiting, self._since = [], time.monotonic()

    def merge(self, videos: Iterable[VideoFile]) -> tuple[int, int]:
        """Writes the output from the parts and removes them; returns its numbers of videos and rows.

        Raises:
          IndexFileError: rows of some videos are missing; the parts are kept.
        """
        wanted = {(video.path, video.size, video.mtime_ns) for video in videos}
        written: set[tuple[str, int, int]] = set()
        count = 0

        def rows() -> Iterator[pa.RecordBatch]:
            nonlocal count
            for file in self._files():
                here: set[tuple[str, int, int]] = set()
                for some in feature_file.batches(file):
                    keys = list(zip(*(some.column(name).to_pylist() for name in _IDENTITY), strict=True))
                    here.update(keys)
                    # Rows of a video are in one file; a video in two files is written once.
                    keep = [key in wanted and key not in written for key in keys]
                    chosen = pc.filter(some, pa.array(keep, pa.bool_())).replace_schema_metadata(
                        feature_file.schema(self._origin).metadata
                    )
                    count += chosen.num_rows
                    if chosen.num_rows:
                        yield chosen
                written.update(here & wanted)
            if missing := sorted(path for path, _, _ in wanted - written):
                raise IndexFileError(
                    f"{self._folder}: rows of {len(missing)} videos are missing: {_some(missing)}; something else "
                    "removed them. The same command embeds them again"
                )

        with self._kept():
            feature_file.write(self._out, rows(), self._origin)
        shutil.rmtree(self._folder, ignore_errors=True)
        return len(written), count

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        """Adds to write errors what is kept."""
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
        found, mine = feature_file.read_origin(file), self._origin
        if (found.fingerprint, found.width) != (mine.fingerprint, mine.width):
            raise IndexFileError(
                f"{file}: holds videos as {found.parameters} sees them, not {mine.parameters}: give another --out, or "
                "remove it"
            )
        if found.model_fingerprint not in ("", mine.model_fingerprint):
            raise IndexFileError(
                f"{file}: made by a model with the same parameters, but another model config or tokenizer (fingerprint "
                f"{found.model_fingerprint}, now {mine.model_fingerprint}): give another --out, or remove it"
            )
        if (found.window, found.stride) != (mine.window, mine.stride):
            raise IndexFileError(f"{file}: holds {_kind(found)}, not {_kind(mine)}: give another --out, or remove it")


_IDENTITY = ("video", "size", "mtime_ns")


def _kind(origin: IndexOrigin) -> str:
    return "whole videos" if origin.window is None else f"windows of {origin.window:g} s every {origin.stride:g} s"


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(paths[:_NAMED]) + more


def _failures(failed: Sequence[tuple[str, str]], videos: int) -> str:
    named = "".join(f"\n  {path}: {reason}" for path, reason in failed[:_NAMED])
    more = f"\n  and {len(failed) - _NAMED} more; the log names them" if len(failed) > _NAMED else ""
    return f"{len(failed)} of {videos} videos could not be read{':' if failed else ''}{named}{more}"
