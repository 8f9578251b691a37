"""Decoding of a record into a clip: frames of the configured number, size and crop."""

import collections
import concurrent.futures
import dataclasses
import itertools
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from svilm_jax.config import VideoConfig
from svilm_jax.input import temporal_sampling
from svilm_jax.input.schema import Record
from svilm_jax.video import decoding
from svilm_jax.video.crop_box import CropBox, center_crop
from svilm_jax.video.decoding import Frames, VideoError, VideoInfo
from svilm_jax.video.rgb_conversion import SMALL_SIDE

# Frames are decoded at this multiple of the model's input size: a random crop of half the area, of any allowed aspect
# ratio, is then still scaled down and not up. Files up to a third larger are not scaled, because FFmpeg's unscaled
# conversion to RGB costs half of its scaled one.
_DECODE_SIDE = 1.5
_KEEP_SIDE = 2.0

_Loaded = TypeVar("_Loaded")


@dataclasses.dataclass(frozen=True)
class Clip:
    """A video as seen in evaluation.

    Attributes:
      frames: uint8 [T, H, W, 3], RGB; zeros where `error` is set.
      indices: int64 [T], number of each frame in the file in presentation order.
      times: float64 [T], seconds at which these frames appear.
      duration: seconds of the whole video; 0 where `error` is set.
      geometry: the box of the decoded picture that `frames` shows; None if `error` is set.
      record: the record of the clip.
      error: why the video could not be used, or None.
    """

    frames: np.ndarray
    indices: np.ndarray
    times: np.ndarray
    duration: float
    geometry: CropBox | None
    record: Record
    error: str | None = None


class FrameCache:
    """Cache of decoded frames of whole files, up to a byte budget.

    Entries are never evicted: every epoch visits every record once in a new order, for which least-recently-used
    eviction would drop each file shortly before it is needed again.
    """

    def __init__(self, budget: int):
        self._budget, self._used = budget, 0
        self._frames: dict[int, Frames] = {}
        self._records: dict[int, Record] = {}
        self._lock = threading.Lock()

    def get(self, index: int) -> Frames | None:
        """Returns the cached frames of record `index`, or None."""
        return self._frames.get(index)

    def record(self, index: int, records: Sequence[Record]) -> Record:
        """Returns record `index`; once its frames are cached, without video and masks and without reading it again."""
        known = self._records.get(index)
        if known is None:
            known = records[index]
            if index in self._frames:
                self._records[index] = dataclasses.replace(known, video=b"", masks=None)
        return known

    def admits(self, nbytes: float) -> bool:
        """Returns whether this many bytes would still fit."""
        return self._used + nbytes <= self._budget

    def put(self, index: int, frames: Frames) -> None:
        """Caches the frames of record `index` if they fit."""
        with self._lock:
            if index not in self._frames and self.admits(frames.images.nbytes):
                self._used += frames.images.nbytes
                self._frames[index] = frames


def decode_side(info: VideoInfo, size: int) -> int:
    """Returns the short side in pixels to decode to for a model input of `size` pixels; 0: as stored."""
    return 0 if min(info.width, info.height) <= _KEEP_SIDE * size else math.ceil(_DECODE_SIDE * size)


def decode_clip(
    record: Record,
    video: VideoConfig,
    start: float = -1.0,
    end: float = -1.0,
    rng: np.random.Generator | None = None,
    cache: FrameCache | None = None,
    index: int = -1,
    crop: Callable[[int, int], CropBox] | None = None,
) -> Frames:
    """Decodes `video.frames` frames of a record.

    Args:
      record: record with the video.
      video: number of frames and size in pixels.
      start: start of the window in seconds; -1 for the whole video.
      end: end of the window in seconds; -1 for the whole video.
      rng: jitters the times in training; None in evaluation, which takes the centers.
      cache: cache of decoded files; `index` is the record's key in it. With `crop`, only files of small frames are
        cached: a few clips of larger ones would fill it, and cropping cached frames costs as much as decoding.
      index: key of the record in the cache.
      crop: function from the height and width of the frames to the crop, as in training; may draw from `rng`, and is
        called once, after the times are drawn.

    Returns:
      Frames uint8 [T, h, w, 3], not cropped; with `crop` [T, size, size, 3].

    Raises:
      VideoError: see `decoding.decode`.
    """
    offset = 0.5 if rng is None else rng.random()

    def times(info: VideoInfo) -> np.ndarray:
        return temporal_sampling.segment_times(
            video.num_frames, *temporal_sampling.window(info.duration, start, end), offset
        )

    def cropped(frames: Frames) -> Frames:
        if crop is None:
            return frames
        return dataclasses.replace(frames, images=crop(*frames.images.shape[1:3]).frames(frames.images))

    known = cache.get(index) if cache is not None else None
    if known is not None:
        return cropped(known.at(times(known.info)))

    whole = False

    def wanted(info: VideoInfo) -> np.ndarray | None:
        nonlocal whole
        side = decode_side(info, video.image_size) or min(info.height, info.width)
        share = side / min(info.height, info.width)
        frames = max(info.frames, info.duration * info.fps, 1)
        nbytes = frames * 3 * info.height * info.width * share**2
        keeps = crop is None or min(info.height, info.width) < SMALL_SIDE
        whole = cache is not None and keeps and cache.admits(nbytes)
        return None if whole else times(info)

    frames = decoding.decode(
        record.video,
        wanted,
        short_side=lambda info: decode_side(info, video.image_size),
        crop=lambda height, width: crop(height, width) if crop and not whole else None,
        name=record.id,
    )
    if whole:
        assert cache is not None
        cache.put(index, frames)
        frames = cropped(frames.at(times(frames.info)))
    return frames


def load_clip(record: Record, video: VideoConfig, start: float | None = None, end: float | None = None) -> Clip:
    """Loads a clip as seen in evaluation: frames at the centers of T equal segments, the largest central square.

    Args:
      record: record with the video.
      video: number of frames and size in pixels.
      start: start of the window in seconds; None for the whole video.
      end: end of the window in seconds; None for the whole video.

    Returns:
      The clip; `error` is set if it cannot be decoded.
    """
    shape = (video.num_frames, video.image_size, video.image_size, 3)
    try:
        frames = decode_clip(record, video, -1.0 if start is None else start, -1.0 if end is None else end)
    except VideoError as error:
        nothing = np.zeros(video.num_frames, np.int64)
        return Clip(np.zeros(shape, np.uint8), nothing, nothing.astype(float), 0.0, None, record, str(error))
    geometry = center_crop(frames.images.shape[1], frames.images.shape[2], video.image_size)
    images = geometry.frames(frames.images)  # [T, H, W, 3]
    return Clip(images, frames.indices, frames.times, frames.info.duration, geometry, record)


def evaluation_clips(
    records: Sequence[Record],
    indices: Iterable[int],
    video: VideoConfig,
    *,
    threads: int = 2,
    windows: Iterable[tuple[float, float] | None] | None = None,
) -> Iterator[Clip]:
    """Yields clips of the records numbered `indices`, in that order, decoded ahead by `threads` threads.

    Args:
      records: source of the videos, such as a `RecordSource`.
      indices: record numbers; may repeat.
      video: number of frames and size in pixels.
      threads: at least 1.
      windows: one (start, end) in seconds for each index, or None for the whole video.

    Yields:
      One `Clip` for each index; `error` is set for those that cannot be decoded.
    """

    def load(index: int, window: tuple[float, float] | None) -> Clip:
        return load_clip(records[index], video, *(window or (None, None)))

    tasks = zip(indices, windows if windows is not None else itertools.repeat(None), strict=False)
    yield from decoded_ahead(load, tasks, threads, 4)


def decoded_ahead(
    load: Callable[..., _Loaded], tasks: Iterable[tuple[Any, ...]], threads: int, held: int
) -> Iterator[_Loaded]:
    """Yields `load(*task)` of every task, in order, computed by threads ahead of the consumer.

    Args:
      load: function of a task's arguments.
      tasks: arguments of each call, consumed lazily.
      threads: at least 1.
      held: maximum number of pending results per thread; bounds memory if the consumer is slower.
    """
    with concurrent.futures.ThreadPoolExecutor(max(threads, 1), thread_name_prefix="decoded-ahead") as pool:
        ahead: collections.deque[concurrent.futures.Future[_Loaded]] = collections.deque()
        try:
            for task in tasks:
                ahead.append(pool.submit(load, *task))
                if len(ahead) > held * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:  # a consumer that stops early does not wait for pending clips
            for future in ahead:
                future.cancel()


def clip_masks(clip: Clip) -> np.ndarray:
    """Returns the record's masks at the clip's frames and crop.

    Returns:
      uint8 [T, H, W]: 0, or the `mask_id` of an object.

    Raises:
      ValueError: the record has no masks, fewer masks than the file has frames, or the clip failed.
    """
    masks = clip.record.masks
    if masks is None:
        raise ValueError(f"{clip.record.id}: has no masks")
    if clip.geometry is None:
        raise ValueError(f"{clip.record.id}: could not be decoded ({clip.error}), so its masks have no frames")
    if clip.indices.max() >= len(masks):
        raise ValueError(
            f"{clip.record.id}: frame {clip.indices.max()} has no mask, there are {len(masks)}; expected one for each "
            "frame of the file; prepare the dataset again"
        )
    return clip.geometry.masks(masks[clip.indices])  # [T, H, W]
