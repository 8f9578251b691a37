"""H.264 encoder: pictures in, an MP4 file without sound out."""

import dataclasses
import fractions
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np

from svilm_jax.video.rgb_conversion import encodable

Rate = fractions.Fraction | int


@dataclasses.dataclass(frozen=True)
class EncoderOptions:
    """Settings of libx264 and of the MP4 file.

    Attributes:
      preset: of libx264, from "ultrafast" to "veryslow": a slower one gives smaller files of the same quality.
      crf: constant rate factor of libx264: a higher one gives smaller files of lower quality.
      key_interval: maximum number of frames from one key frame to the next; 0: FFmpeg's default.
      threads: of the encoder; 0: one per core. With 1, the bytes do not depend on the number of cores.
      fast_start: whether the index precedes the pictures, so that a browser can play a file before all of it arrived.
      ticks_per_second: resolution of the time stamps; 0: one tick per frame.
      rotation: degrees counterclockwise (0, 90, 180, 270) by which players turn the stored pictures.
    """

    preset: str = "veryfast"
    crf: int = 23
    key_interval: int = 0
    threads: int = 0
    fast_start: bool = False
    ticks_per_second: int = 0
    rotation: int = 0


class Encoder:
    """Writer of one MP4 file; a context manager, at the end of which the file is complete.

    Args:
      path: of the file.
      height, width: of the stored pictures in pixels, even.
      rate: frames per second.
      options: settings of the encoder and of the file.

    Raises:
      av.error.FFmpegError: the file cannot be written, or the size or rate is not supported; also from its methods.
    """

    def __init__(self, path: Path, height: int, width: int, rate: Rate, options: EncoderOptions):
        self.height, self.width = height, width
        container_options = {"movflags": "faststart"} if options.fast_start else {}
        self._container = av.open(str(path), "w", format="mp4", options=container_options)
        stream: Any = self._container.add_stream("libx264", rate=rate)
        stream.options = {"preset": options.preset, "crf": str(options.crf)}
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if options.rotation:
            stream.set_display_rotation(options.rotation)
        if options.key_interval:
            stream.codec_context.gop_size = options.key_interval
        if options.threads:
            stream.codec_context.thread_count = options.threads
        self._tick = 1 / fractions.Fraction(options.ticks_per_second or rate)
        stream.codec_context.time_base = self._tick
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()

    def write(self, picture: Any, ticks: int) -> None:
        """Encodes the next picture.

        Args:
          picture: uint8 [height, width, 3], RGB, or a PyAV frame of format yuv420p and this size.
          ticks: its time stamp, above those of earlier pictures.
        """
        frame = encodable(np.ascontiguousarray(picture)) if isinstance(picture, np.ndarray) else picture
        frame.pts, frame.time_base = ticks, self._tick
        self._container.mux(self._stream.encode(frame))


def encode_frames(path: Path, images: Iterable[np.ndarray], rate: Rate, options: EncoderOptions) -> None:
    """Encodes pictures of one size, evenly spaced in time, as an MP4 file.

    Args:
      path: of the file.
      images: uint8 [height, width, 3] each, RGB, with even height and width; at least one.
      rate: frames per second.
      options: settings of the encoder; time stamps count frames.

    Raises:
      ValueError: no picture.
      av.error.FFmpegError: the file cannot be written.
    """
    pictures = iter(images)
    first = next(pictures, None)
    if first is None:
        raise ValueError(f"{path}: no picture to encode, expected at least one")
    height, width, _ = first.shape
    with Encoder(path, height, width, rate, dataclasses.replace(options, ticks_per_second=0)) as encoder:
        encoder.write(first, 0)
        for number, image in enumerate(pictures, 1):
            encoder.write(image, number)
