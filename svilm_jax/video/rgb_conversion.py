"""Conversion of decoded frames to RGB pixels: the whole picture, or a crop of it.

A box is cropped and scaled while the picture is still YUV, and only the result is converted to RGB, which takes a fifth
of the time of converting and resampling the whole picture. The chroma of the result has half its width, as in files,
and the last step is the same conversion as for whole pictures, so that the colors of both ways agree; pixels differ by
about half a level of 255, since boxes are rounded to whole chroma samples here.
"""

import threading
from typing import Any

import av
import av.filter
import av.video.reformatter
import numpy as np

from svilm_jax.video.crop_box import CropBox

# Pictures with fewer pixels on the shorter side are converted as a whole: cropping first would save little time, and
# whole frames can be cached for any later crop (see `clips.FrameCache`).
SMALL_SIDE = 160

_PLANAR = frozenset({"yuv420p", "yuvj420p"})  # formats whose boxes start at even pixels
# Color matrices that swscale supports, by their numbers in ITU-T H.273; it treats all others, and 2, as BT.601.
_MATRICES, _UNSPECIFIED = frozenset({1, 4, 5, 6, 7, 9}), 2
_THREAD = threading.local()


def can_crop(frame: Any) -> bool:
    """Returns whether `FrameCropper` supports frames of this size and pixel format."""
    return min(frame.height, frame.width) >= SMALL_SIDE and frame.format.name in _PLANAR


def whole(
    frame: Any, height: int, width: int, rotation: int, mirrored: bool = False, interpolation: str = "BILINEAR"
) -> np.ndarray:
    """Converts the whole picture to uint8 [height, width, 3], upright.

    Args:
      frame: PyAV frame, as stored.
      height: output height in pixels.
      width: output width in pixels.
      rotation: orientation of the stored picture, see `VideoInfo`.
      mirrored: whether it is mirrored, see `VideoInfo`.
      interpolation: swscale's algorithm; "AREA" averages, for strong downscaling.
    """
    stored = (width, height) if rotation % 180 else (height, width)
    picture = _reformatter().reformat(frame, stored[1], stored[0], "rgb24", interpolation=interpolation, threads=1)
    image = picture.to_ndarray()
    if mirrored:
        image = image[:, ::-1]
    return np.rot90(image, rotation // 90) if rotation else image  # [height, width, 3]


def encodable(image: np.ndarray) -> Any:
    """Converts uint8 [h, w, 3] to a YUV frame for an encoder.

    The encoder would convert it with one thread per core, which takes longer for small pictures and, on a busy machine,
    occasionally gave different bytes.
    """
    return av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p", threads=1)


def _reformatter() -> Any:
    """Returns the scaler of this thread; its tables are reused for clips of the same size, 0.1 ms per frame."""
    if not hasattr(_THREAD, "reformatter"):
        _THREAD.reformatter = av.video.reformatter.VideoReformatter()
    return _THREAD.reformatter


class FrameCropper:
    """Crops one box out of every frame of a clip."""

    def __init__(self, box: CropBox):
        self._box, self.size = box, box.size
        self._shape: tuple[int, int, str, int, int] | None = None  # properties of the frames that the graph accepts
        self._graph: Any = None  # referenced here, since its filters do not keep it alive
        self._ends: tuple[Any, Any] | None = None

    def __call__(self, frame: Any) -> np.ndarray:
        """Returns the box of a PyAV frame as uint8 [size, size, 3]."""
        shape = (frame.height, frame.width, frame.format.name, frame.colorspace, frame.color_range)
        if self._ends is None or shape != self._shape:  # any of these may change within a file
            graph, source, sink = self._build(frame)
            self._graph, self._ends = graph, (source, sink)
            self._shape = shape
        source, sink = self._ends
        source.push(frame)
        plane = sink.pull().planes[0]
        size = self.size
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # rows are padded
        return rows[:size, : 3 * size].reshape(size, size, 3)

    def _build(self, frame: Any) -> tuple[Any, Any, Any]:
        """Builds a filter graph; returns it with its first and its last filter."""
        box, size = self._box, self.size
        top, height = _even(box.top, box.height, frame.height)
        left, width = _even(box.left, box.width, frame.width)
        scale = ("scale", f"{size}:{size}:flags=bilinear")
        steps = [("crop", f"{width}:{height}:{left}:{top}:exact=1"), scale, ("format", "yuv422p")]
        steps += [("hflip", "")] if box.flip else []
        steps += [scale, ("format", "rgb24"), ("buffersink", "")]
        graph = av.filter.Graph()
        graph.threads = 1
        # The color matrix and range of the frames must be set: if unspecified, the graph converts between color
        # matrices in 8 bits, and colors of BT.709 videos are off by up to 5 levels.
        matrix = frame.colorspace if frame.colorspace in _MATRICES else _UNSPECIFIED
        source = last = graph.add(
            "buffer",
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base={frame.time_base}"
            f":colorspace={matrix}:range={frame.color_range}",
        )
        for name, arguments in steps:
            step = graph.add(name, arguments)
            last.link_to(step)
            last = step
        graph.configure()
        return graph, source, last


def _even(start: float, length: float, pixels: int) -> tuple[int, int]:
    """Returns (first pixel, number of pixels), both even, of a range given in fractions of `pixels`."""
    count = min(max(2, 2 * round(length * pixels / 2)), pixels - pixels % 2)
    return max(0, min(2 * round(start * pixels / 2), pixels - pixels % 2 - count)), count
