"""Small test videos encoded by PyAV, whose frames encode their number as brightness."""

import fractions
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

STEP = 8  # brightness from one frame to the next


def numbered_frames(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    """uint8 [count, height, width, 3]; frame i is gray, 16 + STEP * (i % 28), with a red left upper corner."""
    frames = np.empty((count, height, width, 3), np.uint8)
    frames[:] = (16 + STEP * (np.arange(count) % 28)).astype(np.uint8)[:, None, None, None]
    frames[:, : height // 4, : width // 4] = (230, 20, 20)
    return frames


def numbers(images: np.ndarray) -> list[int]:
    """Which frames of `numbered_frames` (below 28) these are; reads the middle."""
    h, w = images.shape[1:3]
    middle = images[:, h // 2 - 2 : h // 2 + 2, w // 2 - 2 : w // 2 + 2].mean((1, 2, 3))
    return np.round((middle - 16) / STEP).astype(int).tolist()


def encode(
    frames: np.ndarray,
    *,
    fps: int = 8,
    times: Sequence[float] | None = None,
    container: str = "mp4",
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    gop: int = 12,
    options: dict[str, str] | None = None,
    rotation: int = 0,
    path: str | None = None,
    flags: dict[str, str] | None = None,
    matrix: int = 2,
    color_range: int = 0,
) -> bytes:
    """`frames` uint8 [T, H, W, 3] as a video file; `times` in seconds, where the rate varies.

    With `path` the file goes there; `flags` are options of the container; `matrix` and `color_range` are FFmpeg's
    numbers of the color matrix and range that the file states (the pixels are converted as BT.601 all the same).
    """
    buffer = io.BytesIO()
    with av.open(path or buffer, "w", format=container, options=flags or {}) as out:
        stream: Any = out.add_stream(codec, rate=fps, options=options or _options(codec))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        stream.codec_context.gop_size = gop
        stream.thread_count = 1
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, color_range
        if rotation:
            stream.set_display_rotation(rotation)
        if times is not None:
            stream.codec_context.time_base = fractions.Fraction(1, 1000)
        for i, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(times[i] * 1000), fractions.Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return Path(path).read_bytes() if path else buffer.getvalue()


def encode_sound(seconds: float = 0.5) -> bytes:
    """A file with sound and no picture."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="wav") as out:
        stream: Any = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        samples = np.zeros((1, round(8000 * seconds)), np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def _options(codec: str) -> dict[str, str]:
    return {"crf": "10", "preset": "ultrafast", "x264-params": "scenecut=0"} if codec == "libx264" else {}
