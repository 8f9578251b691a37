"""Re-encoding of videos, and of segments of videos, to H.264 files small enough for training, frame by frame."""

import dataclasses
import fractions
import math
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from svilm_jax.video import rgb_conversion
from svilm_jax.video.decoding import VideoError, VideoInfo, VideoReader, opened
from svilm_jax.video.stream_properties import MAX_FPS, UNKNOWN_FPS

# Fraction of a segment for which the last frame of a file may replace missing ones.
MAX_FROZEN_FRACTION = 0.25
ROUNDING = 1e-3  # seconds, of time stamps in Matroska and FLV, and in files converted from them

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
    start, end = _part(window, info, source.name)
    wanted, written, shown, last = max(1, round((end - start) * rate)), 0, None, 0.0
    try:
        with opened(source) as reader, av.open(str(target), "w", format="mp4") as made:
            stream: Any = made.add_stream("libx264", rate=rate)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.gop_size = max(1, math.ceil(rate))  # one key frame per second: seeking stays cheap
            stream.codec_context.thread_count = 1
            stream.options = {"preset": "veryfast", "crf": "20"}
            # Time stamps may have been rounded to milliseconds: a frame that is late by that much is on time.
            rounding = min(ROUNDING, 0.1 / (info.peak_fps or UNKNOWN_FPS))
            for time, frame in reader.play(start):
                if window is not None:
                    _refuse_damage(reader, start, end, source.name)
                # At time t the last frame that appears at or before t is on screen.
                while shown is not None and written < wanted and start + written / rate < time - rounding:
                    written = _write(made, stream, shown, info, written)
                shown, last = frame, time
                if window is not None and written == wanted:
                    break
            if shown is None:
                raise VideoError("gives no frame", source.name)
            if window is not None:
                _refuse_damage(reader, start, end, source.name)
                if written < wanted:
                    _check_end(last, reader.leaves(last), (start, end), float(rate), source.name)
            while written < wanted:
                written = _write(made, stream, shown, info, written)
            made.mux(stream.encode())
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"cannot be re-encoded as {width}x{height} H.264 ({error.strerror})", source.name) from error


def _part(window: Window | None, info: VideoInfo, name: str) -> Window:
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


def _check_end(last: float, leaves: float, part: Window, rate: float, name: str) -> None:
    """Rejects a last frame, from `last` to `leaves` seconds, that would be repeated for too much of the segment."""
    start, end = part
    if end - leaves > max(MAX_FROZEN_FRACTION * (end - start), 2 / rate):
        raise VideoError(f"decodes up to {last:.2f} s, but its part lasts from {start:.2f} to {end:.2f} s", name)


def _refuse_damage(reader: VideoReader, start: float, end: float, name: str) -> None:
    """Detects damage in a segment, which is the only part of its file that is read."""
    for seconds, _ in reader.damage:
        if start <= (start if seconds is None else seconds) < end:
            raise VideoError(f"damaged: a packet at {seconds or start:.2f} s does not decode", name)


def _write(container: Any, stream: Any, frame: Any, info: VideoInfo, number: int) -> int:
    """Encodes a stored frame as picture `number`; returns the next number."""
    upright = rgb_conversion.whole(frame, stream.height, stream.width, info.rotation, info.mirrored, "AREA")
    picture = rgb_conversion.encodable(np.ascontiguousarray(upright))  # [height, width, 3]
    picture.pts, picture.time_base = number, 1 / fractions.Fraction(stream.codec_context.framerate)
    container.mux(stream.encode(picture))
    return number + 1
