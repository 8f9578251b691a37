"""Embedding of many video files into one feature file: decoded ahead, embedded in batches, saved in parts.

Rows of finished videos are written to OUT.parts/00001.parquet and so on, one part every few seconds; at the end the
output is written from them in one piece and the parts are removed. An interrupted run is resumed by the same command,
and so is a run over a folder that has grown: rows of unchanged files, from the parts or from an existing output, are
reused. A lock next to the output excludes a second run.
"""

import collections
import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from svilm_jax.filesystem.locks import locked_output
from svilm_jax.filesystem.output_paths import check_output_file
from svilm_jax.inference.clip_input import read_clip
from svilm_jax.inference.embedding_parts import MAX_LISTED, EmbeddingParts, format_paths
from svilm_jax.inference.feature_file import IndexOrigin, VideoRows
from svilm_jax.inference.model import TrainedModel
from svilm_jax.inference.video_files import EmbeddingError, VideoFile, list_videos
from svilm_jax.input.clips import decoded_ahead
from svilm_jax.video.decoding import VideoError, probe
from svilm_jax.video.folders import SkippedVideo

__all__ = ["EmbeddingError", "EmbeddingSummary", "embed_files", "window_spans"]

log = logging.getLogger(__name__)

_DECODERS = 2  # decoding threads
_AHEAD = 4  # decoded clips per thread that wait for the model


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
        text = f"{self.out}: {self.videos} videos{kept}, {self.rows} rows"
        if self.removed:
            text += f"\nrows of {len(self.removed)} videos of an earlier run removed: {format_paths(self.removed)}"
        return text + (f"\n{_failures(self.failed, self.videos + len(self.failed))}" if self.failed else "")


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
      model: model returned by `svilm_jax.load`.
      model_path: path that it was loaded from; recorded in the file.
      sources: video files, and folders searched recursively.
      out: the file to write; an existing one is updated: rows of unchanged videos are reused, and those of deleted
        files are removed.
      window: seconds; a row is a window of a video, [k · stride, k · stride + window), the last one clipped to the end
        of the video, so that moments of long videos can be found. None: a row is a whole video.
      stride: seconds between the starts of windows; None exactly if `window` is.
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
        raise EmbeddingError("give both a window and a stride, or neither, for whole videos")
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
    parts = EmbeddingParts(out, origin)
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
    existing = [path for path in others if os.path.lexists(path)]
    if existing and not prune:
        raise EmbeddingError(
            f"{out}: has rows of {len(existing)} videos that are not among the given ones: {format_paths(existing)}. "
            "Give them as well, choose another --out, or remove their rows by --prune"
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
    """A video in progress. `error` is set if it is abandoned: rows of a part must not pass for the whole."""

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
            # (-1, -1) instead of (0, duration), as in `TrainedModel.embed_video`.
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

    pending: collections.deque[_Work] = collections.deque()  # owners of the clips in the encoder, in order

    def clips() -> Iterator[np.ndarray]:
        announced: _Work | None = None
        for work, frames in decoded_ahead(load, tasks(), _DECODERS, _AHEAD):
            if frames is not None:
                pending.append(work)
                yield frames
            elif work is not announced:
                announced = work
                log.warning("%s: left out: %s", work.video.path, work.error)
                failed.append((work.video.path, str(work.error)))
                bar.update()

    for reading in model.encoder.videos(clips(), ("embedding",)):
        work = pending.popleft()
        work.rows.append(reading["embedding"])
        if len(work.rows) == len(work.spans):
            bar.update()
            video = work.video
            yield VideoRows(video.path, video.size, video.mtime_ns, work.spans, np.stack(work.rows))


def _failures(failed: Sequence[tuple[str, str]], videos: int) -> str:
    named = "".join(f"\n  {path}: {reason}" for path, reason in failed[:MAX_LISTED])
    more = f"\n  and {len(failed) - MAX_LISTED} more; the log names them" if len(failed) > MAX_LISTED else ""
    return f"{len(failed)} of {videos} videos could not be read{':' if failed else ''}{named}{more}"
