"""How do the frames of one open video file come out, in order of presentation and no more of them than needed?"""

import bisect
import dataclasses
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import av.error
import av.video.reformatter
import numpy as np

# Demuxers that open further files or addresses named inside the file: not videos, and not to be followed.
_INDIRECT_FORMATS = frozenset({"hls", "dash", "concat", "concatf", "rtsp", "sdp", "imf", "webm_dash_manifest"})

# A file with more frames than this is worth one pass over its packets, which tells where seeking saves decoding.
_LONG_VIDEO_FRAMES = 120
# Frames that decoding may run through before a seek (with its flush) is the cheaper way.
_SEEK_COST_FRAMES = 8
# Share of the duration for which the last decoded frame may stand in for missing ones.
_MAX_FROZEN_SHARE = 0.25
# Seconds by which a time that was computed from a frame's own time may miss it through rounding.
_SAME_TIME = 1e-6


class VideoError(ValueError):
    """A video that cannot be used; the message gives the name of the video, where known, and the reason."""

    def __init__(self, reason: str, name: str = ""):
        super().__init__(f"{name}: {reason}" if name else reason)
        self.reason = reason
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:  # crosses process borders
        return VideoError, (self.reason, self.name)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a file may ask of this machine; a small file can unfold into far more than fits in memory."""

    max_bytes: int = 4 << 30  # of the encoded file
    max_pixels: int = 8192 * 4608  # of one frame
    max_frames: int = 200_000  # decoded in one call
    max_seconds: float = 12 * 3600.0  # duration that the file states
    max_output_bytes: int = 8 << 30  # of the frames returned


DEFAULT_LIMITS = Limits()


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """What a file says of itself.

    Attributes:
      duration: seconds from the first frame to the end of the last one.
      width, height: pixels as displayed, after rotation.
      fps: mean frames a second; 0 where unknown.
      rotation: degrees counterclockwise (0, 90, 180, 270) by which stored frames are turned for display.
      codec: FFmpeg's name of the video codec.
      frames: what the header claims, 0 where it does not say. May differ from what decodes.
    """

    duration: float
    width: int
    height: int
    fps: float
    rotation: int
    codec: str
    frames: int


@dataclasses.dataclass(frozen=True)
class Frames:
    """Decoded frames, in the order of the times asked for.

    Attributes:
      images: uint8 [T, h, w, 3], RGB.
      indices: int64 [T], number of the frame in the file in order of presentation.
      times: float64 [T], seconds at which that frame appears.
      info: what the file says of itself.
    """

    images: np.ndarray
    indices: np.ndarray
    times: np.ndarray
    info: VideoInfo

    def at(self, times: Sequence[float] | np.ndarray) -> "Frames":
        """Those of these frames that are on screen at `times`; for frames in ascending order."""
        places = np.searchsorted(self.times, np.asarray(times) + _SAME_TIME, side="right") - 1
        places = np.maximum(places, 0)  # [T]
        return Frames(self.images[places], self.indices[places], self.times[places], self.info)


_THREAD = threading.local()


def _reformatter() -> Any:
    """One scaler a thread: it keeps its tables while clips keep their size, which is worth 0.1 ms a frame."""
    if not hasattr(_THREAD, "reformatter"):
        _THREAD.reformatter = av.video.reformatter.VideoReformatter()
    return _THREAD.reformatter


class VideoReader:
    """Frames of one open file in order of presentation."""

    def __init__(self, container: Any, name: str, limits: Limits):
        self.container, self.name, self.limits = container, name, limits
        if _INDIRECT_FORMATS & set(container.format.name.split(",")):
            raise VideoError(f"is a playlist ({container.format.name}), not a video", name)
        streams = [s for s in container.streams.video if "attached_pic" not in _disposition(s)]
        if not streams:
            kinds = sorted({s.type for s in container.streams}) or ["nothing"]
            raise VideoError(f"has no video stream, only {', '.join(kinds)}", name)
        self.stream = streams[0]
        context = self.stream.codec_context
        if context is None:
            raise VideoError("has a video stream of a codec that this FFmpeg cannot decode", name)
        # Clips are decoded in parallel with each other; threads inside one would only add start-up time.
        context.thread_type = "NONE"
        context.thread_count = 1
        self._check_size(context.width, context.height)
        self.errors: list[str] = []  # what packets that do not decode complain of
        self.decoded = 0
        self._table: list[int] | None = None  # pts of every packet, ascending
        self._keys: list[int] = []  # those of them where decoding can start
        self._tail = 0  # duration of the last packet
        self._frames = self._stream_frames()
        first = next(self._frames, None)
        if first is None:
            detail = f" ({self.errors[0]})" if self.errors else ""
            raise VideoError(f"no frame decodes{detail}", name)
        self.first: Any = first

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self.limits.max_pixels:
            raise VideoError(f"{width}x{height} pixels exceed the limit of {self.limits.max_pixels}", self.name)

    def info(self) -> VideoInfo:
        stream, frame = self.stream, self.first
        turned = frame.rotation % 360 // 90 % 2 == 1
        rate = stream.average_rate or stream.guessed_rate
        fps = float(rate) if rate else 0.0
        # The container's duration counts audio, which may be longer: where the stream has none of its own, look.
        if stream.duration:
            duration = float(stream.duration * stream.time_base)
        elif self._scan():
            assert self._table is not None
            duration = float((self._table[-1] + self._tail - self._table[0]) * stream.time_base)
        else:
            duration = (self.container.duration or 0) / 1e6
        if duration <= 0:
            duration = stream.frames / fps if stream.frames and fps else 1.0 / (fps or 25.0)
        if duration > self.limits.max_seconds:
            raise VideoError(f"{duration:.0f} s exceed the limit of {self.limits.max_seconds:.0f} s", self.name)
        return VideoInfo(
            duration=duration,
            width=frame.height if turned else frame.width,
            height=frame.width if turned else frame.height,
            fps=fps,
            rotation=round(frame.rotation / 90) * 90 % 360,
            codec=stream.codec_context.name,
            frames=stream.frames,
        )

    def read(self, wanted: np.ndarray | None, height: int, width: int, info: VideoInfo) -> Frames:
        """See `decode`; `wanted` None: every frame. height, width: as displayed."""
        stored = (width, height) if info.rotation % 180 else (height, width)
        images: list[np.ndarray] = []
        indices: list[int] = []
        times: list[float] = []

        def keep(index: int, time: float, frame: Any) -> None:
            if indices and indices[-1] == index:  # several times on one frame
                images.append(images[-1])
            else:
                picture = _reformatter().reformat(
                    frame, stored[1], stored[0], "rgb24", interpolation="BILINEAR", threads=1
                )
                image = picture.to_ndarray()
                images.append(np.rot90(image, info.rotation // 90) if info.rotation else image)  # [h, w, 3]
            indices.append(index)
            times.append(time)

        if wanted is None:
            budget = self.limits.max_output_bytes // (height * width * 3)
            for index, time, frame in self._walk(()):
                if index >= budget:
                    raise VideoError(f"more than {budget} frames of {width}x{height}", self.name)
                keep(index, time, frame)
            self._check_end(times[-1], info.duration, info)
            return Frames(np.stack(images), np.array(indices), np.array(times), info)

        order = np.argsort(wanted, kind="stable")
        ascending = wanted[order].tolist()
        position, shown, lag = 0, None, 0.0
        for index, time, frame in self._walk(ascending):
            # What was shown until now is the answer to every time before this frame; the first frame also answers
            # for the time before it.
            while position < len(ascending) and ascending[position] < time - _SAME_TIME:
                keep(*(shown or (index, time, frame)))
                lag = max(lag, ascending[position] - times[-1])
                position += 1
            if position == len(ascending):
                break
            shown = (index, time, frame)
        assert shown is not None
        if position < len(ascending):
            self._check_end(shown[1], ascending[-1], info)
        for _ in ascending[position:]:
            keep(*shown)
        if self.errors and lag > _MAX_FROZEN_SHARE * info.duration:
            self._refuse(f"has a gap of {lag:.2f} s", info)
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return Frames(
            np.stack(images)[back] if (np.diff(order) < 0).any() else np.stack(images),  # [T, h, w, 3]
            np.array(indices)[back],
            np.array(times)[back],
            info,
        )

    def _check_end(self, last: float, until: float, info: VideoInfo) -> None:
        """Refuses a last frame at `last` seconds that would have to stand still for too long, until `until`."""
        frame_length = 1.0 / info.fps if info.fps else 0.0
        if until - last - frame_length > max(_MAX_FROZEN_SHARE * info.duration, 2 * frame_length):
            self._refuse(f"decodes up to {last:.2f} s, but {until:.2f} s is wanted", info)

    def _refuse(self, what: str, info: VideoInfo) -> None:
        detail = f"; {len(self.errors)} packets do not decode ({self.errors[0]})" if self.errors else ""
        raise VideoError(f"{what} of the {info.duration:.2f} s that the header states: truncated{detail}", self.name)

    def _walk(self, ascending: Sequence[float]) -> Iterator[tuple[int, float, Any]]:
        """(index, time, frame) in order of presentation, leaving out what no wanted time needs where seeking pays."""
        base = self.stream.time_base
        origin = self.first.pts if self.first.pts is not None else 0
        long = bool(ascending) and self._expected_frames(ascending[-1]) > _LONG_VIDEO_FRAMES
        if long and self._scan():
            try:
                yield from self._walk_seeking(ascending, origin, float(base))
                return
            except _LostPosition:
                pass  # before anything was given out: see there
            self._rewind()
        last = 0.0
        for index, frame in enumerate(self._all_frames()):
            if frame.pts is None:
                time = index / float(self.stream.average_rate or 25)
            else:
                time = float(frame.pts - origin) * float(base)
            last = max(last, time)  # time stamps that run backwards stand still
            yield index, last, frame

    def _walk_seeking(self, ascending: Sequence[float], origin: int, base: float) -> Iterator[tuple[int, float, Any]]:
        assert self._table is not None
        table, found = self._table, []
        stamps = [max(bisect.bisect_right(table, origin + (t + _SAME_TIME) / base) - 1, 0) for t in ascending]
        at, sought = 0, False  # next index that decoding gives; not known between a seek and its first frame
        frames = self._all_frames()
        for index in sorted(set(stamps)):
            key = self._keys[max(bisect.bisect_right(self._keys, table[index]) - 1, 0)]
            start = bisect.bisect_left(table, key)
            if start > at + _SEEK_COST_FRAMES:
                self.container.seek(key, stream=self.stream, backward=True, any_frame=False)
                frames, sought = self._stream_frames(), True
            for frame in frames:
                if frame.pts is None:
                    raise _LostPosition
                number = bisect.bisect_left(table, frame.pts)
                # A packet lost, time stamps out of order (packed B-frames in AVI), or a container that seeks by
                # other rules than its packets say: then only counting from the start is right.
                if number > index or table[number] != frame.pts or not (sought or number == at):
                    raise _LostPosition
                at, sought = number + 1, False
                if number == index:
                    found.append((index, float(frame.pts - origin) * base, frame))
                    break
            else:
                raise _LostPosition
        # All or nothing: only a complete answer is given out, so that falling back starts clean.
        yield from found

    def _all_frames(self) -> Iterator[Any]:
        yield self.first
        yield from self._frames

    def _rewind(self) -> None:
        self.container.seek(self.stream.start_time or 0, stream=self.stream, backward=True, any_frame=False)
        self.errors.clear()
        self._frames = self._stream_frames()
        self.first = next(self._frames, self.first)

    def _expected_frames(self, until: float) -> float:
        return min(until * float(self.stream.average_rate or 25), self.stream.frames or float("inf"))

    def _stream_frames(self) -> Iterator[Any]:
        """Decoded frames from where the container stands; packets that do not decode are noted and left out."""
        for packet in self.container.demux(self.stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                self.errors.append(str(error.strerror or error))
                continue
            for frame in frames:
                self.decoded += 1
                if self.decoded > self.limits.max_frames:
                    raise VideoError(f"more than {self.limits.max_frames} frames", self.name)
                self._check_size(frame.width, frame.height)
                yield frame

    def _scan(self) -> bool:
        """Reads every packet's time stamp, without decoding; False where the container has none."""
        if self._table is None:
            stamps, keys, tail = [], [], (0, 0)
            self.container.seek(self.stream.start_time or 0, stream=self.stream, backward=True, any_frame=False)
            complete = True
            for packet in self.container.demux(self.stream):
                if packet.size == 0:
                    continue
                if packet.pts is None:
                    complete = False
                    break
                stamps.append(packet.pts)
                tail = max(tail, (packet.pts, packet.duration or 0))
                if packet.is_keyframe:
                    keys.append(packet.pts)
            self._table = sorted(stamps) if complete and keys else []
            self._keys, self._tail = sorted(keys), tail[1]
            self._rewind()
        return bool(self._table)


class _LostPosition(Exception):
    """After a seek the decoder gives frames that the packet table does not know."""


def _disposition(stream: Any) -> str:
    return stream.disposition.name or ""
