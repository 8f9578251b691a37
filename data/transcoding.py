"""How is a video made small enough to train from? Re-encoded as H.264, a frame at a time, whatever its length."""

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


def transcode(source: Path, target: Path, encoding: Encoding, info: VideoInfo) -> None:
    """Writes `source` to `target` as an mp4 file: upright, evenly spaced in time, without sound.

    One frame is held at a time. The same file gives the same bytes on any number of cores.

    Args:
      info: what decoding found out about `source`.

    Raises:
      VideoError: the file gives no frame, or cannot be encoded.
    """
    rate, (height, width) = encoding.rate(info), encoding.size(info)
    wanted, written, shown = max(1, round(info.duration * rate)), 0, None
    try:
        with _reading(source) as read, av.open(str(target), "w", format="mp4") as made:
            stream: Any = made.add_stream("libx264", rate=rate)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.gop_size = max(1, math.ceil(rate))  # a key frame a second: seeking stays cheap
            stream.codec_context.thread_count = 1
            stream.options = {"preset": "veryfast", "crf": "20"}
            for time, frame in _frames(read, info):
                # At time t the last frame that appears at or before t is on screen.
                while shown is not None and written < wanted and written / rate < time - 1e-6:
                    written = _write(made, stream, shown, info.rotation, written)
                shown = frame
            if shown is None:
                raise VideoError("gives no frame", source.name)
            while written < wanted:
                written = _write(made, stream, shown, info.rotation, written)
            made.mux(stream.encode())
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"cannot be re-encoded as {width}x{height} H.264 ({error.strerror})", source.name) from error


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


def _frames(container: Any, info: VideoInfo) -> Iterator[tuple[float, Any]]:
    """Seconds from the first frame, and the frame as stored, of every one that decodes."""
    stream = picture_stream(container)
    origin, time, count = None, 0.0, 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            continue  # how much of a file may be broken was decided when it was checked
        for frame in frames:
            if frame.pts is None:
                time = count / (info.fps or UNKNOWN_FPS)
            else:
                origin = frame.pts if origin is None else origin
                time = max(time, float((frame.pts - origin) * stream.time_base))
            count += 1
            yield time, frame
