"""Re-encoding of videos, and of segments of videos, to H.264 files small enough for training, frame by frame."""

import dataclasses
import fractions
import math
from pathlib import Path
from typing import Any

import av.error
import numpy as np

from svilm_jax.video import VideoError, VideoInfo, encoder, rgb_conversion
from svilm_jax.video.decoding import opened
from svilm_jax.video.reader import VideoReader
from svilm_jax.video.stream_properties import MAX_FPS, UNKNOWN_FPS

# Fraction of a segment that may be filled by repeating the last frame of a file.
MAX_FROZEN_FRACTION = 0.25
ROUNDING = 1e-3  # seconds: resolution of time stamps in Matroska and FLV, and in files converted from them

Window = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class EncodingOptions:
    """Target encoding of videos; with both fields 0, the bytes of the files are kept.

    Attributes:
      short_side: pixels of the shorter side, even; a smaller video is not enlarged; 0: the size is kept.
      fps: frames per second, evenly spaced in time; a video of a lower rate keeps its own, which is its peak rate, so
        that no frame is lost if the rate varies; 0: every video keeps its own.
    """

    short_side: int = 0
    fps: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.short_side or self.fps)

    def size(self, info: VideoInfo) -> tuple[int, int]:
        """Returns (height, width) of the new video: even, as H.264 with subsampled chroma requires."""
        scale = min(1.0, self.short_side / min(info.height, info.width)) if self.short_side else 1.0
        height, width = (max(2, min(round(side * scale / 2), side // 2) * 2) for side in (info.height, info.width))
        return height, width

    def rate(self, info: VideoInfo) -> fractions.Fraction:
        """Returns the frame rate of the new video."""
        own = min(max(info.peak_fps, info.fps) or UNKNOWN_FPS, MAX_FPS)
        return fractions.Fraction(min(self.fps or own, own)).limit_denominator(1001)


def transcode(
    source: Path, target: Path, encoding: EncodingOptions, info: VideoInfo, window: Window | None = None
) -> None:
    """Writes `source` to `target` as an mp4 file: upright, in square pixels, evenly spaced in time, without sound.

    One frame is held at a time. The same file gives the same bytes on any number of cores.

    Args:
      source: video file to read.
      target: mp4 file to write.
      encoding: size and frame rate of the new video.
      info: properties of `source`.
      window: (start, end) seconds of `source` to write, clipped to its end; None: all of it. Its first picture is the
        one on screen at `start`, wherever the key frames of the file are.

    Raises:
      VideoError: the file has no frame, cannot be encoded, or is damaged or ends within the window.
    """
    rate, (height, width) = encoding.rate(info), encoding.size(info)
    start, end = _segment(window, info, source.name)
    count, written, shown, last = max(1, round((end - start) * rate)), 0, None, 0.0
    try:
        # One key frame per second: seeking stays cheap.
        options = encoder.EncoderOptions("veryfast", crf=20, key_interval=max(1, math.ceil(rate)), threads=1)
        with opened(source) as reader, encoder.Encoder(target, height, width, rate, options) as made:
            # Time stamps may have been rounded to milliseconds: a frame that is late by this much counts as on time.
            rounding = min(ROUNDING, 0.1 / (info.peak_fps or UNKNOWN_FPS))
            for time, frame in reader.play(start):
                if window is not None:
                    _check_damage(reader, start, end, source.name)
                # At time t the last frame that appears at or before t is on screen.
                while shown is not None and written < count and start + written / rate < time - rounding:
                    made.write(_upright(shown, height, width, info), written)
                    written += 1
                shown, last = frame, time
                if window is not None and written == count:
                    break
            if shown is None:
                raise VideoError("gives no frame", source.name)
            if window is not None:
                _check_damage(reader, start, end, source.name)
                if written < count:
                    _check_end(last, reader.leaves(last), (start, end), float(rate), source.name)
            while written < count:
                made.write(_upright(shown, height, width, info), written)
                written += 1
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"cannot be re-encoded as {width}x{height} H.264 ({error.strerror})", source.name) from error


def _segment(window: Window | None, info: VideoInfo, name: str) -> Window:
    """Returns (start, end) seconds to write; raises VideoError for a window without video."""
    whole = info.duration - info.missing
    if window is None:
        return 0.0, whole
    start, end = window
    if not 0 <= start < end:
        raise VideoError(f"its segment from {start:.2f} to {end:.2f} s is empty", name)
    if start >= info.duration:
        raise VideoError(f"its segment from {start:.2f} to {end:.2f} s is after its end at {info.duration:.2f} s", name)
    if info.missing and end > whole + 2 / (info.peak_fps or UNKNOWN_FPS):
        raise VideoError(
            f"truncated: its segment lasts from {start:.2f} to {end:.2f} s, and its packets end at {whole:.2f} s of "
            f"the {info.duration:.2f} s that the file states",
            name,
        )
    return start, min(end, whole)


def _check_end(last: float, leaves: float, segment: Window, rate: float, name: str) -> None:
    """Rejects a last frame, from `last` to `leaves` seconds, that would be repeated for too much of the segment."""
    start, end = segment
    if end - leaves > max(MAX_FROZEN_FRACTION * (end - start), 2 / rate):
        raise VideoError(f"decodes up to {last:.2f} s, but its segment lasts from {start:.2f} to {end:.2f} s", name)


def _check_damage(reader: VideoReader, start: float, end: float, name: str) -> None:
    """Detects damage in a segment, which is the only part of its file that is read."""
    for seconds, _ in reader.damage:
        if start <= (start if seconds is None else seconds) < end:
            raise VideoError(f"damaged: a packet at {seconds or start:.2f} s does not decode", name)


def _upright(frame: Any, height: int, width: int, info: VideoInfo) -> np.ndarray:
    """Returns a stored frame as displayed: uint8 [height, width, 3]."""
    return rgb_conversion.whole(frame, height, width, info.rotation, info.mirrored, "AREA")
