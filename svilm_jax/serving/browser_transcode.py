"""Browser-compatible copies of videos: H.264 in MP4, created once and cached in a folder.

Played without conversion: MP4 with H.264, VP9 or AV1, and WebM with VP8, VP9 or AV1, 4:2:0 with 8 bits.
"""

import fractions
import hashlib
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av.error

from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.serving.errors import BusyError
from svilm_jax.video import VideoError, VideoInfo, rgb_conversion
from svilm_jax.video.decoding import opened
from svilm_jax.video.encoder import Encoder, EncoderOptions
from svilm_jax.video.info import DEFAULT_LIMITS, Limits
from svilm_jax.video.reader import VideoReader

_FORMATS = {"mp4": ("video/mp4", {"h264", "vp9", "av1"}), "webm": ("video/webm", {"vp8", "vp9", "av1"})}
_PIXELS = frozenset({"yuv420p", "yuvj420p"})
_SOUND = frozenset({"aac", "mp3", "opus", "vorbis", "flac"})
_SHORT_SIDE = 480  # pixels of a transcoded copy, for a card on a page
_TICKS = 90_000  # a second
_KEPT_BYTES = 2 << 30  # limit of transcoded copies; least recently requested ones are removed first
_SENT_SECONDS = 300.0  # time for which a returned file is kept for sending
_MAKERS = 2  # videos transcoded at once: each one uses all cores
_WAITING = 8  # waiting requests; each occupies one of the server's 40 threads


class PlayableVideos:
    """Videos in browser-compatible form.

    Args:
      folder: for transcoded copies; must exist.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._lock = threading.Lock()
        self._handed_out: dict[str, float] = {}  # names -> when, by `time.monotonic`
        # One per file in progress: browsers request a video several times at once.
        self._making: weakref.WeakValueDictionary[str, threading.Lock] = weakref.WeakValueDictionary()
        self._makers, self._waiting = threading.Semaphore(_MAKERS), threading.Semaphore(_WAITING)
        self._known: dict[tuple[str, int, int], str | None] = {}

    def media_type(self, path: Path, limits: Limits = DEFAULT_LIMITS) -> str | None:
        """Like the function of this name; every file is checked once.

        Raises:
          VideoError: it cannot be read.
        """
        key = _identity(path)
        if key not in self._known:
            self._known[key] = media_type(path, limits)
        return self._known[key]

    def find(
        self, path: Path, start: float = 0.0, end: float | None = None, limits: Limits = DEFAULT_LIMITS
    ) -> tuple[Path, str]:
        """Returns a file to send and its media type: the video itself, or its transcoded copy.

        Args:
          path: of a video.
          start: first second that will be watched; a copy starts there.
          end: last second that will be watched; None: to the end.
          limits: resource limits for the video.

        Raises:
          VideoError: it cannot be read.
          BusyError: it must be transcoded, and too many others are waiting.
        """
        kind = self.media_type(path, limits)
        if kind is not None:
            return path, kind
        name = hashlib.sha256(repr((_identity(path), start, end)).encode()).hexdigest()[:24]
        made = self._folder / f"{name}.mp4"
        if not self._hand_out(made):
            self._make(path, made, start, end, limits)
        return made, "video/mp4"

    def _hand_out(self, made: Path) -> bool:
        """Returns whether it exists; it is then kept for a while."""
        with self._lock:
            if not made.is_file():
                return False
            self._handed_out[made.name] = time.monotonic()
            return True

    def _make(self, path: Path, made: Path, start: float, end: float | None, limits: Limits) -> None:
        if not self._waiting.acquire(blocking=False):
            raise BusyError("too many videos are being transcoded: try again in a moment")
        try:
            with self._lock:
                making = self._making.setdefault(made.name, threading.Lock())
            with making:
                if not self._hand_out(made):
                    with self._makers:
                        transcode(path, made, start, end, limits)
                    self._hand_out(made)
                    self._forget()
        finally:
            self._waiting.release()

    def _forget(self) -> None:
        """Frees space, except for files returned just now: they are opened only when they are sent."""
        with self._lock:
            files = sorted(self._folder.glob("*.mp4"), key=lambda file: self._handed_out.get(file.name, 0.0))
            held = sum(file.stat().st_size for file in files)
            for file in files[:-1]:
                idle = time.monotonic() - self._handed_out.get(file.name, float("-inf"))
                if held > _KEPT_BYTES and idle >= _SENT_SECONDS:
                    held -= file.stat().st_size
                    self._handed_out.pop(file.name, None)
                    file.unlink()


def _identity(path: Path) -> tuple[str, int, int]:
    try:
        state = path.stat()
    except OSError as error:
        raise VideoError("no such file", path.name) from error
    return str(path), state.st_size, state.st_mtime_ns


def media_type(path: Path, limits: Limits = DEFAULT_LIMITS) -> str | None:
    """Returns the media type of a file that browsers play; None if it must be transcoded.

    Raises:
      VideoError: it cannot be read.
    """
    with opened(path, limits=limits) as reader:
        info = reader.info()  # its limits hold here too
        container, stream = reader.container, reader.stream
        # A browser may select another one of several tracks, and not all of them mirror.
        doubtful = info.mirrored or any(s.index != stream.index for s in container.streams.video)
        names = set(container.format.name.split(","))
        # Matroska's demuxer reports "matroska,webm" for both, and only the file ending distinguishes them.
        family = "mp4" if "mp4" in names else "webm" if "webm" in names and path.suffix.lower() == ".webm" else None
        if family is None or doubtful or stream.codec_context.pix_fmt not in _PIXELS:
            return None
        kind, codecs = _FORMATS[family]
        sound = {s.codec_context.name.split("_")[0].removesuffix("float") for s in container.streams.audio}
        return kind if stream.codec_context.name.removeprefix("lib") in codecs and sound <= _SOUND else None


def transcode(
    path: Path, out: Path, start: float = 0.0, end: float | None = None, limits: Limits = DEFAULT_LIMITS
) -> None:
    """Writes [start, end) seconds of a video as H.264 in MP4, without sound, atomically.

    Frames are processed one by one, so that a long video takes no more memory than a short one.

    Raises:
      VideoError: nothing decodes, or more than `limits` allow, whatever its header states.
    """
    try:
        with opened(path, limits=limits) as reader, atomic_write(out) as temporary:
            info = reader.info()
            scale = min(1.0, _SHORT_SIDE / min(info.width, info.height))
            width, height = (max(2, round(n * scale / 2) * 2) for n in (info.width, info.height))
            # Browsers rotate pictures as the metadata says; not all of them mirror them.
            rotation = info.rotation if not info.mirrored else 0
            if rotation % 180:
                height, width = width, height
            options = EncoderOptions(fast_start=True, ticks_per_second=_TICKS, rotation=rotation)
            with Encoder(temporary, height, width, _rate(info.peak_fps), options) as encoder:
                for ticks, frame in _pictures(reader, info, start, end):
                    encoder.write(_picture(frame, height, width, info), ticks)
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"cannot be transcoded ({error})", path.name) from error


def _pictures(reader: VideoReader, info: VideoInfo, start: float, end: float | None) -> Iterator[tuple[int, Any]]:
    """Yields (time stamp in ticks from `start`, stored frame) of [start, end) seconds of a video.

    Raises:
      VideoError: nothing decodes, or more than the reader's limits allow.
    """
    limits = reader.limits
    pending, shown, last = None, -1, None  # the frame at or before `start` is on screen there
    for count, (seconds, frame) in enumerate(reader.play(start), 1):
        if count > limits.max_frames or seconds > limits.max_seconds:
            raise VideoError(f"more than {limits.max_frames} frames or {limits.max_seconds:.0f} s", reader.name)
        if end is not None and seconds >= end and (shown >= 0 or pending is not None):
            break
        last = frame
        ticks = round((seconds - start) * _TICKS)
        if ticks <= 0:
            pending = frame
            continue
        if pending is not None:
            yield 0, pending
            pending, shown = None, 0
        if ticks > shown:
            yield ticks, frame
            shown = ticks
    if pending is not None:
        yield 0, pending
        shown = 0
    if shown < 0:
        raise VideoError("no frame decodes", reader.name)
    # Repeated at the end: MP4 does not store the duration of the last picture.
    rate = _rate(info.peak_fps)
    over = info.duration - info.missing
    ends = round(((over if end is None else min(end, over)) - start - 1 / rate) * _TICKS)
    if ends > shown + 1.5 * _TICKS / rate:
        yield ends, last


def _picture(frame: Any, height: int, width: int, info: VideoInfo) -> Any:
    """Converts a stored frame to square pixels, and to BT.601, the default for small untagged videos."""
    if info.mirrored:
        return rgb_conversion.whole(frame, height, width, info.rotation, mirrored=True)
    return frame.reformat(width, height, "yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG", threads=1)


def _rate(fps: float) -> fractions.Fraction:
    return fractions.Fraction(min(max(fps, 1.0), 120.0) if fps else 25.0).limit_denominator(1001)
