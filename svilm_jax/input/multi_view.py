"""Multi-view test-time sampling: shifted clips times spatial crops along the longer side (docs/method.md, 1.7).

4 clips x 3 crops is usual in action recognition. Every clip spans the whole window, as in training: clip i of n takes
the times at (i + 1/2) / n of each of the T segments, so that one clip and one crop equal the single view used by other
evaluations [C].
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from svilm_jax.config import VideoConfig
from svilm_jax.input import temporal_sampling
from svilm_jax.input.clips import decode_side, decoded_ahead
from svilm_jax.input.schema import Record
from svilm_jax.video import decoding
from svilm_jax.video.crop_box import CropBox
from svilm_jax.video.decoding import VideoError, VideoInfo


def crop_along(height: int, width: int, size: int, position: float) -> CropBox:
    """Returns the largest square at `position` in [0, 1] along the longer side: 0 left or top, 1/2 the center."""
    side = min(height, width)
    top, left = position * (1 - side / height), position * (1 - side / width)
    return CropBox(top, left, side / height, side / width, size)


def positions(crops: int) -> list[float]:
    """Returns the positions of crops along the longer side: one at the center, several from end to end."""
    return [0.5] if crops == 1 else [i / (crops - 1) for i in range(crops)]


def load_views(
    record: Record, video: VideoConfig, clips: int, crops: int, start: float = -1.0, end: float = -1.0
) -> np.ndarray:
    """Returns all views of a record, decoded once: uint8 [clips * crops, T, size, size, 3].

    Args:
      record: record with the video.
      video: number of frames and size in pixels.
      clips: number of temporal views.
      crops: number of spatial views per temporal view.
      start: start of the window in seconds; -1 for the whole video.
      end: end of the window in seconds; -1 for the whole video.

    Raises:
      VideoError: see `decoding.decode`.
    """
    offsets = [(i + 0.5) / clips for i in range(clips)]

    def times(info: VideoInfo) -> np.ndarray:
        window = temporal_sampling.window(info.duration, start, end)
        return np.concatenate(
            [temporal_sampling.segment_times(video.num_frames, *window, offset) for offset in offsets]
        )

    frames = decoding.decode(
        record.video,
        times,
        short_side=lambda info: decode_side(info, video.image_size),
        name=record.id,
    )
    height, width = frames.images.shape[1:3]
    boxes = [crop_along(height, width, video.image_size, position) for position in positions(crops)]
    of_clips = frames.images.reshape(clips, video.num_frames, height, width, 3)
    return np.stack([box.frames(images) for images in of_clips for box in boxes])


def evaluation_views(
    records: Sequence[Record],
    numbers: Iterable[int],
    windows: Iterable[tuple[float, float]],
    video: VideoConfig,
    clips: int,
    crops: int,
    *,
    threads: int = 2,
) -> Iterator[tuple[Record, np.ndarray | str]]:
    """Yields records with their views, in order, decoded ahead; instead of views the reason if decoding fails."""

    def load(number: int, window: tuple[float, float]) -> tuple[Record, np.ndarray | str]:
        record = records[number]
        try:
            return record, load_views(record, video, clips, crops, *window)
        except VideoError as error:
            return record, str(error)

    # A result has many clips: fewer are held than for single clips.
    yield from decoded_ahead(load, zip(numbers, windows, strict=True), threads, 2)
