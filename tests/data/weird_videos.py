"""Small video files of many kinds found in real folders, generated here."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CODECS = {".mp4": "libx264", ".mkv": "mpeg4", ".avi": "mpeg4", ".webm": "libvpx", ".mpg": "mpeg2video"}


def write_video(
    path: Path,
    *,
    size: tuple[int, int] = (48, 64),
    times: list[float] | None = None,
    colors: list[tuple[int, int, int]] | None = None,
) -> Path:
    """A video of plain frames; its container and codec follow from the ending of its name.

    Args:
      size: height and width.
      times: seconds at which frames appear; by default 16 frames at 8 a second.
      colors: RGB of each frame; by default from black to white. An MPEG program stream gets grain too: with next to
        no data in it, FFmpeg guesses its length wrongly.
    """
    times = [i / 8 for i in range(16)] if times is None else times
    grays = np.linspace(0, 255, len(times)).astype(int)
    colors = [(int(g), int(g), int(g)) for g in grays] if colors is None else colors
    path.parent.mkdir(parents=True, exist_ok=True)
    grain = np.random.default_rng(0).integers(-20, 20, (*size, 3)) if path.suffix == ".mpg" else 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream(CODECS[path.suffix], rate=25 if path.suffix == ".mpg" else 8)
        stream.height, stream.width = size
        odd = size[0] % 2 or size[1] % 2
        stream.pix_fmt = "yuv444p" if odd and path.suffix == ".mp4" else "yuv420p"
        if path.suffix != ".mpg":
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, (time, color) in enumerate(zip(times, colors, strict=True)):
            image = np.clip(np.full((*size, 3), color) + grain, 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number if path.suffix == ".mpg" else round(time * 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """An mp4 file with one second of silence and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000)
        stream.layout = "mono"
        for start in range(0, 16_000, 1000):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16_000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
