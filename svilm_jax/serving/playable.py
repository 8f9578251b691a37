"""How does a video that a browser cannot play become one that it can? H.264 in MP4, made once and kept in a folder.

What browsers play as it is: MP4 with H.264 or VP9 or AV1, and WebM with VP8, VP9 or AV1, 4:2:0 and 8 bits.
"""

import fractions
import hashlib
import itertools
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.error

from svilm_jax.input.decoding import VideoError, probe
from svilm_jax.input.video_reader import DEFAULT_LIMITS, Limits
from svilm_jax.serving.errors import BusyError

_FORMATS = {"mp4": ("video/mp4", {"h264", "vp9", "av1"}), "webm": ("video/webm", {"vp8", "vp9", "av1"})}
_PIXELS = frozenset({"yuv420p", "yuvj420p"})
_SOUND = frozenset({"aac", "mp3", "opus", "vorbis", "flac"})
_SHORT_SIDE = 480  # pixels of what is made: a card on a page
_TICKS = 90_000  # a second
_KEPT_BYTES = 2 << 30  # of what was made; what was asked for longest ago goes first
_SENT_SECONDS = 300.0  # after a file was handed out it is there to be sent
_MAKERS = 2  # videos that are encoded at once: one is work for all cores
_WAITING = 8  # requests for videos that are not made yet, at once; each holds one of the server's 40 threads


class PlayableVideos:
    """Videos as a browser plays them.

    Args:
      folder: for what has to be made; must exist.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._lock = threading.Lock()
        self._handed_out: dict[str, float] = {}  # names -> when, by `time.monotonic`
        # One for each file that is being made: browsers ask for a video several times at once.
        self._making: weakref.WeakValueDictionary[str, threading.Lock] = weakref.WeakValueDictionary()
        self._makers, self._waiting = threading.Semaphore(_MAKERS), threading.Semaphore(_WAITING)
        self._known: dict[tuple[str, int, int], str | None] = {}

    def media_type(self, path: Path, limits: Limits = DEFAULT_LIMITS) -> str | None:
        """As the function of this name; every file is looked at once.

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
        """A file to send and its media type: the video itself, or what was made of it.

        Args:
          path: of a video.
          start, end: seconds of it that will be looked at; what is made holds these alone. `end` None: to its end.
          limits: what the video may ask of this machine.

        Raises:
          VideoError: it cannot be read.
          BusyError: it has to be made, and too many others wait for that.
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
        """Whether it is there; it then stays for a while."""
        with self._lock:
            if not made.is_file():
                return False
            self._handed_out[made.name] = time.monotonic()
            return True

    def _make(self, path: Path, made: Path, start: float, end: float | None, limits: Limits) -> None:
        if not self._waiting.acquire(blocking=False):
            raise BusyError("too many videos are being made playable: try again in a moment")
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
        """Makes room, but for what was handed out just now: it is opened only when it is sent."""
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
    """The media type of a file that browsers play; None where one has to be made.

    Raises:
      VideoError: it cannot be read.
    """
    probe(path, limits=limits)  # of our decoder, whose limits hold here too
    with _opened(path) as container:
        stream = _video(container, path)
        names = set(container.format.name.split(","))
        # The demuxer of Matroska says "matroska,webm" of both, and only the ending tells them apart.
        family = "mp4" if "mp4" in names else "webm" if "webm" in names and path.suffix.lower() == ".webm" else None
        if family is None or stream.codec_context.pix_fmt not in _PIXELS:
            return None
        kind, codecs = _FORMATS[family]
        sound = {s.codec_context.name.split("_")[0].removesuffix("float") for s in container.streams.audio}
        return kind if stream.codec_context.name.removeprefix("lib") in codecs and sound <= _SOUND else None


def transcode(
    path: Path, out: Path, start: float = 0.0, end: float | None = None, limits: Limits = DEFAULT_LIMITS
) -> None:
    """Writes [start, end) seconds of a video as H.264 in MP4, without sound; whole or not at all.

    Pictures come one by one, so that a long video takes no more memory than a short one.

    Raises:
      VideoError: nothing of it decodes, or more than `limits` allow, whatever its header says.
    """
    info = probe(path, limits=limits)
    beside = out.with_name(f".{out.name}.tmp")
    try:
        with _opened(path) as container, av.open(beside, "w", format="mp4", options={"movflags": "faststart"}) as made:
            source = _video(container, path)
            target: Any = made.add_stream("libx264", rate=_rate(info.fps), options={"preset": "veryfast", "crf": "23"})
            context = source.codec_context  # as stored: the rotation goes along as a note
            share = min(1.0, _SHORT_SIDE / min(context.width, context.height))
            target.width, target.height = (max(2, round(n * share / 2) * 2) for n in (context.width, context.height))
            target.pix_fmt = "yuv420p"
            target.codec_context.time_base = fractions.Fraction(1, _TICKS)
            if info.rotation:
                target.set_display_rotation(info.rotation)
            last = -1
            for count, (seconds, frame) in enumerate(_frames(container, source, start, info.fps), 1):
                if count > limits.max_frames or seconds > limits.max_seconds:
                    raise VideoError(f"more than {limits.max_frames} frames or {limits.max_seconds:.0f} s", path.name)
                if frame.width * frame.height > limits.max_pixels:
                    raise VideoError(f"{frame.width}x{frame.height} pixels: too many", path.name)
                if end is not None and seconds >= end and last >= 0:
                    break
                ticks = max(round((seconds - start) * _TICKS), 0)
                if seconds >= start and ticks > last:
                    picture = frame.reformat(target.width, target.height, "yuv420p")
                    picture.pts, picture.time_base = ticks, fractions.Fraction(1, _TICKS)
                    made.mux(target.encode(picture))
                    last = ticks
            if last < 0:
                raise VideoError("nothing of it decodes", path.name)
            made.mux(target.encode(None))
        beside.replace(out)
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"cannot be made playable ({error})", path.name) from error
    finally:
        beside.unlink(missing_ok=True)


def _frames(container: Any, stream: Any, start: float, fps: float) -> Iterator[tuple[float, Any]]:
    """(seconds from the first frame, frame), from a key frame before `start` on."""
    frames = _decoded(container, stream)
    first = next(frames, None)
    if first is None:
        return
    origin = first.pts  # now: whoever gets the frame may set its time anew
    if start > 0 and origin is not None:
        container.seek(origin + int(start / stream.time_base), stream=stream)
        frames = _decoded(container, stream)
    else:
        frames = itertools.chain([first], frames)
    for number, frame in enumerate(frames):
        if origin is None:  # a bare stream of H.264 has no times
            yield number / (fps or 25.0), frame
        elif frame.pts is not None:
            yield float((frame.pts - origin) * stream.time_base), frame


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Frames from where the container stands; damaged packets are left out, as our decoder does."""
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            continue


def _opened(path: Path) -> Any:
    # As `decoding` opens files: only the file itself, and header texts that are not UTF-8.
    return av.open(f"file:{path}", metadata_errors="ignore", options={"protocol_whitelist": "file"})


def _video(container: Any, path: Path) -> Any:
    for stream in container.streams.video:
        if "attached_pic" not in (stream.disposition.name or ""):
            stream.thread_type = "AUTO"
            return stream
    raise VideoError("has no video stream", path.name)


def _rate(fps: float) -> fractions.Fraction:
    return fractions.Fraction(min(max(fps, 1.0), 120.0) if fps else 25.0).limit_denominator(1001)
