"""How is a video, or a part of one, made small enough to train from? Re-encoded as H.264, a frame at a time."""

import dataclasses
import fractions
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from svilm_jax.input.decoding import VideoError, VideoInfo

from .videos import picture_stream

MAX_FPS = 60.0  # of a file that keeps its own rate: some headers state a rate of 1,000 and more
UNKNOWN_FPS = 25.0  # of a file that does not state its rate
# Seconds before a part that are decoded from the start of the file without asking where its key frames are.
NEAR_START = 2.0
# Share of a part that the last frame of a file may stand in for: headers overstate the length a little.
MAX_FROZEN_SHARE = 0.25
SAME_TIME = 1e-6  # seconds by which a computed time may miss a frame's own through rounding

Window = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Encoding:
    """To what videos are re-encoded. Both 0: not at all, the bytes of the file are kept.

    Attributes:
      short_side: pixels of the shorter side, even; a smaller video is not enlarged; 0: the size stays.
      fps: frames a second, evenly spaced in time; a video of fewer keeps its own mean rate; 0: the mean rate stays.
    """

    short_side: int = 0
    fps: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.short_side or self.fps)

    def size(self, info: VideoInfo) -> tuple[int, int]:
        """(height, width) of the new video: even, as H.264 with half the chroma resolution wants."""
        scale = min(1.0, self.short_side / min(info.height, info.width)) if self.short_side else 1.0
        height, width = (max(2, min(round(side * scale / 2), side // 2) * 2) for side in (info.height, info.width))
        return height, width

    def rate(self, info: VideoInfo) -> fractions.Fraction:
        """Frames a second of the new video."""
        own = min(info.fps or UNKNOWN_FPS, MAX_FPS)
        return fractions.Fraction(min(self.fps or own, own)).limit_denominator(1001)


def transcode(source: Path, target: Path, encoding: Encoding, info: VideoInfo, window: Window | None = None) -> None:
    """Writes `source` to `target` as an mp4 file: upright, evenly spaced in time, without sound.

    One frame is held at a time. The same file gives the same bytes on any number of cores.

    Args:
      info: what decoding found out about `source`.
      window: (start, end) seconds of `source` that are written, a part beyond its end left out; None: all of it. Its
        first picture is the one on screen at `start`, wherever the key frames of the file lie.

    Raises:
      VideoError: the file gives no frame, cannot be encoded, or is damaged or over within the window.
    """
    rate, (height, width) = encoding.rate(info), encoding.size(info)
    start, end = _part(window, info, source.name)
    wanted, written, shown, last = max(1, round((end - start) * rate)), 0, None, 0.0
    try:
        with _reading(source) as read, av.open(str(target), "w", format="mp4") as made:
            stream: Any = made.add_stream("libx264", rate=rate)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.gop_size = max(1, math.ceil(rate))  # a key frame a second: seeking stays cheap
            stream.codec_context.thread_count = 1
            stream.options = {"preset": "veryfast", "crf": "20"}
            pictures = picture_stream(read)
            for time, frame in (
                _frames(read, pictures, info)
                if window is None
                else _frames_from(read, pictures, info, start, end, source.name)
            ):
                # At time t the last frame that appears at or before t is on screen.
                while shown is not None and written < wanted and start + written / rate < time - SAME_TIME:
                    written = _write(made, stream, shown, info.rotation, written)
                shown, last = frame, time
                if window is not None and written == wanted:
                    break
            if shown is None:
                raise VideoError("gives no frame", source.name)
            if window is not None and written < wanted:
                _check_end(last, start, end, float(rate), source.name)
            while written < wanted:
                written = _write(made, stream, shown, info.rotation, written)
            made.mux(stream.encode())
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"cannot be re-encoded as {width}x{height} H.264 ({error.strerror})", source.name) from error


def _part(window: Window | None, info: VideoInfo, name: str) -> Window:
    """(start, end) seconds to write; raises VideoError for a window that holds nothing of the video."""
    if window is None:
        return 0.0, info.duration
    start, end = window
    if not 0 <= start < end:
        raise VideoError(f"its part from {start:.2f} to {end:.2f} s holds nothing", name)
    if start >= info.duration:
        raise VideoError(f"its part from {start:.2f} to {end:.2f} s lies after its end at {info.duration:.2f} s", name)
    return start, min(end, info.duration)


def _check_end(last: float, start: float, end: float, rate: float, name: str) -> None:
    """Refuses a last frame at `last` seconds that would stand still for too much of the part."""
    if end - last - 1 / rate > max(MAX_FROZEN_SHARE * (end - start), 2 / rate):
        raise VideoError(f"decodes up to {last:.2f} s, but its part lasts from {start:.2f} to {end:.2f} s", name)


def _reading(source: Path) -> Any:
    return av.open(f"file:{source}", metadata_errors="ignore", options={"protocol_whitelist": "file"})


def _write(container: Any, stream: Any, frame: Any, rotation: int, number: int) -> int:
    """Encodes a stored frame as picture `number`; returns the next number."""
    height, width = stream.height, stream.width
    stored = (width, height) if rotation % 180 else (height, width)
    scaled = frame.reformat(stored[1], stored[0], "rgb24", interpolation="AREA", threads=1).to_ndarray()
    upright = np.ascontiguousarray(np.rot90(scaled, rotation // 90))  # [height, width, 3]
    picture = picture_of(upright)
    picture.pts, picture.time_base = number, 1 / fractions.Fraction(stream.codec_context.framerate)
    container.mux(stream.encode(picture))
    return number + 1


def picture_of(image: np.ndarray) -> Any:
    """uint8 [h, w, 3] as the frame that H.264 encodes.

    Converted here and not left to the encoder, which would do it in as many threads as there are cores: that takes
    longer for small pictures, and a busy machine now and then gave other bytes.
    """
    return av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p", threads=1)


def _frames(container: Any, stream: Any, info: VideoInfo) -> Iterator[tuple[float, Any]]:
    """Seconds from the first frame, and the frame as stored, of every one that decodes."""
    origin, time, count = None, 0.0, 0
    for _, frame in _decoded(container, stream):
        if frame is None:
            continue  # how much of a file may be broken was decided when it was checked
        if frame.pts is None:
            time = count / (info.fps or UNKNOWN_FPS)
        else:
            origin = frame.pts if origin is None else origin
            time = max(time, float((frame.pts - origin) * stream.time_base))
        count += 1
        yield time, frame


def _frames_from(
    container: Any, stream: Any, info: VideoInfo, start: float, end: float, name: str
) -> Iterator[tuple[float, Any]]:
    """As `_frames`, beginning with a frame that is on screen at or before `start`, without decoding all before it.

    A part is all that is read of its file, so what is broken in it is found out here.

    Raises:
      VideoError: a packet of the part does not decode.
    """
    base = stream.time_base
    origin = None if start <= NEAR_START else next((f.pts for _, f in _decoded(container, stream) if f), None)
    if origin is not None:
        container.seek(origin + int(start / base), stream=stream, backward=True, any_frame=False)
        before = None
        for packet, frame in _decoded(container, stream):
            time = None if frame is None or frame.pts is None else float((frame.pts - origin) * base)
            if before is None:
                if frame is None:
                    continue
                # A container that seeks too far, or not by the time stamps that its frames then have (packed
                # B-frames in AVI): only counting from the start is right.
                if time is None or time > start + SAME_TIME:
                    break
                before = 0.0
            if frame is None:
                _refuse_damage(packet, origin, base, start, end, name)
            elif time is not None:
                before = max(before, time)
                yield before, frame
        else:
            return
    container.seek(stream.start_time or 0, stream=stream, backward=True, any_frame=False)
    yield from _frames(container, stream, info)


def _refuse_damage(packet: Any, origin: int, base: Any, start: float, end: float, name: str) -> None:
    time = start if packet.pts is None else float((packet.pts - origin) * base)
    if start <= time < end:
        raise VideoError(f"damaged: a packet at {time:.2f} s does not decode", name)


def _decoded(container: Any, stream: Any) -> Iterator[tuple[Any, Any]]:
    """(packet, frame) of all frames from where the container stands; frame None: the packet does not decode."""
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            frames = [None]
        for frame in frames:
            yield packet, frame
