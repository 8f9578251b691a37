"""Types that describe videos: stream properties, decoded frames, limits, and the error of an unusable file."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from svilm_jax.errors import UserError

# Rounding error, in seconds, of a time computed from the time of a frame.
SAME_TIME = 1e-6


class VideoError(UserError, ValueError):
    """A video that cannot be used; the message contains the name of the video, if known, and the reason."""

    def __init__(self, reason: str, name: str = ""):
        super().__init__(f"{name}: {reason}" if name else reason)
        self.reason = reason
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:  # exceptions are pickled between processes
        return VideoError, (self.reason, self.name)


@dataclasses.dataclass(frozen=True)
class Limits:
    """Resource limits for decoding a file: a small file can contain more pixels than fit in memory."""

    max_bytes: int = 4 << 30  # of the encoded file
    max_pixels: int = 8192 * 4608  # of one frame
    max_frames: int = 200_000  # decoded in one call
    max_seconds: float = 12 * 3600.0  # duration
    max_output_bytes: int = 8 << 30  # of the frames returned


DEFAULT_LIMITS = Limits()


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """Properties of a video stream, from its packets and its first frame; the header serves as a cross-check only.

    Attributes:
      duration: seconds from the first frame to the end of the last one; of a truncated file, as stated by its
        container.
      width, height: pixels as displayed: pixels are square, and the picture is upright.
      fps: mean frames per second between the first and the last frame; 0 if unknown.
      rotation: degrees counterclockwise (0, 90, 180, 270) by which stored frames are rotated for display.
      codec: FFmpeg's name of the video codec.
      frames: number of pictures in the packets; the number of decodable frames may differ.
      mirrored: whether stored frames are mirrored left to right before they are rotated.
      peak_fps: frames per second where they follow each other fastest, equal to `fps` for a constant rate; 0: unknown.
      missing: seconds at the end of `duration` for which a truncated file has no packets; 0 for complete files, and for
        containers that state no duration (MPEG-TS, MPEG-PS, Ogg, GIF, elementary streams).
    """

    duration: float
    width: int
    height: int
    fps: float
    rotation: int
    codec: str
    frames: int
    mirrored: bool = False
    peak_fps: float = 0.0
    missing: float = 0.0


@dataclasses.dataclass(frozen=True)
class Frames:
    """Decoded frames, in the order of the requested times.

    Attributes:
      images: uint8 [T, h, w, 3], RGB.
      indices: int64 [T], numbers of the frames in the file, in presentation order.
      times: float64 [T], seconds at which these frames appear.
      info: the properties of the stream.
    """

    images: np.ndarray
    indices: np.ndarray
    times: np.ndarray
    info: VideoInfo

    def at(self, times: Sequence[float] | np.ndarray) -> "Frames":
        """Returns the frames on screen at `times` (seconds, [S]); these frames must be in ascending order of time."""
        places = np.searchsorted(self.times, np.asarray(times) + SAME_TIME, side="right") - 1
        places = np.maximum(places, 0)  # [T]
        return Frames(self.images[places], self.indices[places], self.times[places], self.info)
