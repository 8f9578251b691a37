"""Decoding of video files to RGB frames through PyAV, the only video reader of this project.

Frames are requested by time, never by index, so that a file of variable frame rate is sampled evenly. Time 0 is the
first frame of the file. A file that cannot provide what was requested raises `VideoError`: no frame is silently
replaced by a black one or repeated.
"""

import contextlib
import dataclasses
import functools
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import av.error
import av.logging
import numpy as np

from svilm_jax.filesystem.file_signatures import SIGNATURE_BYTES, describe_placeholder
from svilm_jax.video import rgb_conversion
from svilm_jax.video.crop_box import CropBox
from svilm_jax.video.file_structure import FileStructure, examine
from svilm_jax.video.info import DEFAULT_LIMITS, Frames, Limits, VideoError, VideoInfo
from svilm_jax.video.reader import VideoReader

__all__ = ["Frames", "Limits", "VideoError", "VideoInfo", "VideoReader", "decode", "opened", "probe"]

# FFmpeg writes to stderr from its own threads; relevant errors are raised as exceptions.
av.logging.set_level(None)

Source = bytes | str | Path
Times = Sequence[float] | np.ndarray | Callable[[VideoInfo], Sequence[float] | np.ndarray | None] | None


def probe(source: Source, *, name: str = "", limits: Limits = DEFAULT_LIMITS) -> VideoInfo:
    """Reads the properties of a video from its packets and its first frame, without decoding the others.

    Args:
      source: bytes of a file, or its path.
      name: name of the video in error messages.
      limits: resource limits for the file.

    Raises:
      VideoError: no video stream, unreadable, or beyond `limits`.
    """
    with opened(source, name, limits) as reader:
        return reader.info()


def decode(
    source: Source,
    times: Times,
    *,
    short_side: int | Callable[[VideoInfo], int] = 0,
    size: tuple[int, int] | None = None,
    crop: Callable[[int, int], CropBox | None] | None = None,
    name: str = "",
    limits: Limits = DEFAULT_LIMITS,
) -> Frames:
    """Decodes the frames on screen at `times`.

    Args:
      source: bytes of a file, or its path.
      times: seconds from the first frame, in any order; or a function from `VideoInfo` to such times; or None for
        every frame of the file. The frame on screen at time t is the last one that appears at or before t; times
        before the first frame or after the last one select the first or the last. The function may return None too.
      short_side: scale so that the shorter side has this many pixels, or a function from `VideoInfo` to it; 0: as
        stored. Videos are never enlarged.
      size: (height, width) to scale to, ignoring the aspect ratio; excludes `short_side`.
      crop: function from the height and width of the pictures, scaled as above, to a box; it is called once, and None
        selects the whole picture. Boxes of large pictures are cropped and scaled in one step (see `rgb_conversion`),
        others by `CropBox.frames` from whole pictures.
      name: name of the video in error messages.
      limits: resource limits for the file.

    Returns:
      `Frames` with images uint8 [T, h, w, 3] for T times; with a box, [T, box.size, box.size, 3].

    Raises:
      VideoError: unreadable, no frame decodes, fewer frames decode than the times require, or beyond `limits`.
      ValueError: no times, or times that are not finite.
    """
    if size is not None and short_side:
        raise ValueError(f"decode: give short_side={short_side} or size={size}, not both")
    with opened(source, name, limits) as reader:
        info = reader.info()
        given = times(info) if callable(times) else times
        wanted = None
        if given is not None:
            wanted = np.asarray(given, np.float64)
            if wanted.ndim != 1 or not wanted.size or not np.isfinite(wanted).all():
                raise ValueError(f"{name or 'decode'}: expected a list of finite seconds, got {wanted!r}")
        height, width = _target(info, short_side(info) if callable(short_side) else short_side, size)
        box = crop(height, width) if crop else None
        upright = not info.rotation and not info.mirrored
        cropper = (
            rgb_conversion.FrameCropper(box) if box and upright and rgb_conversion.can_crop(reader.first) else None
        )
        shape = (cropper.size, cropper.size) if cropper else (height, width)
        count = max(info.frames, 1) if wanted is None else len(wanted)
        if count * shape[0] * shape[1] * 3 > limits.max_output_bytes:
            most = limits.max_output_bytes // (shape[0] * shape[1] * 3)
            raise VideoError(
                f"{count} frames of {shape[1]}x{shape[0]} exceed the limit of {limits.max_output_bytes} bytes: "
                f"more than {most} frames",
                name,
            )
        whole = functools.partial(
            rgb_conversion.whole, height=height, width=width, rotation=info.rotation, mirrored=info.mirrored
        )
        frames = reader.read(wanted, cropper or whole, shape, info)
        if box and not cropper:
            return dataclasses.replace(frames, images=box.frames(frames.images))
        return frames


def _target(info: VideoInfo, short_side: int, size: tuple[int, int] | None) -> tuple[int, int]:
    """Returns the (height, width) as displayed to decode to."""
    if size is not None:
        return size
    shorter = min(info.height, info.width)
    if not short_side or short_side >= shorter:
        return info.height, info.width
    scale = short_side / shorter
    return max(1, round(info.height * scale)), max(1, round(info.width * scale))


@contextlib.contextmanager
def opened(source: Source, name: str = "", limits: Limits = DEFAULT_LIMITS) -> Iterator[VideoReader]:
    """Opens a reader of `source`, for one pass over its frames (`VideoReader.play`).

    Args:
      source: bytes of a file, or its path.
      name: name of the video in error messages.
      limits: resource limits for the file.

    Raises:
      VideoError: it cannot be read; FFmpeg errors raised inside the context are converted to one, too.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        size: int = len(source)
        head = bytes(source[:SIGNATURE_BYTES])
    else:
        path = Path(source)
        name = name or path.name
        if not path.is_file():
            raise VideoError(f"no such file: {path}", name)
        size = path.stat().st_size
        head = _head(path, name)
    if not size:
        raise VideoError("the file is empty (0 bytes)", name)
    if size > limits.max_bytes:
        raise VideoError(f"{size} bytes exceed the limit of {limits.max_bytes}", name)
    if placeholder := describe_placeholder(head):
        raise VideoError(f"cannot be read: the file is {placeholder}, not a video", name)
    structure = _structure(source, name, size)
    if structure.fault:
        raise VideoError(structure.fault, name)
    containers = contextlib.ExitStack()

    def reopen() -> Any:
        # Only the file itself is read: a playlist must not open other files or addresses.
        options = {"protocol_whitelist": "file"}
        # With the prefix, FFmpeg does not interpret the beginning of the name as a protocol.
        again = io.BytesIO(source) if isinstance(source, (bytes, bytearray, memoryview)) else f"file:{source}"
        return containers.enter_context(av.open(again, metadata_errors="ignore", options=options))

    try:
        with containers:
            reader = VideoReader(reopen(), name, limits, reopen, structure)
            with contextlib.closing(reader):
                yield reader
    except av.error.FFmpegError as error:
        reason = error.strerror if isinstance(error.strerror, str) else str(error)
        raise VideoError(f"cannot be read ({reason or type(error).__name__})", name) from error
    except (EOFError, OSError, UnicodeDecodeError) as error:
        raise VideoError(f"cannot be read ({error})", name) from error


def _head(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(SIGNATURE_BYTES)
    except OSError as error:
        raise VideoError(f"cannot be read ({error.strerror})", name) from error


def _structure(source: Source, name: str, size: int) -> FileStructure:
    try:
        if isinstance(source, (bytes, bytearray, memoryview)):
            return examine(io.BytesIO(source), size)
        with Path(source).open("rb") as file:
            return examine(file, size)
    except OSError as error:
        raise VideoError(f"cannot be read ({error.strerror})", name) from error
