"""How do the frames of one open video file come out, in order of presentation and no more of them than needed?"""

import bisect
import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import av.error
import numpy as np

from svilm_jax.errors import UserError
from svilm_jax.input.packets import Dispensable, Packets, Table

# Demuxers that open further files or addresses named inside the file: not videos, and not to be followed.
_INDIRECT_FORMATS = frozenset({"hls", "dash", "concat", "concatf", "rtsp", "sdp", "imf", "webm_dash_manifest"})

# A file with more frames than this is worth one pass over its packets, which tells where decoding can be saved: by
# seeking, and by leaving out frames that nothing else needs.
_LONG_VIDEO_FRAMES = 24
# Frames that decoding may run through before a seek (with its flush) is the cheaper way.
_SEEK_COST_FRAMES = 8
# Share of the duration for which the last decoded frame may stand in for missing ones.
_MAX_FROZEN_SHARE = 0.25
# Seconds by which a time that was computed from a frame's own time may miss it through rounding.
_SAME_TIME = 1e-6


class VideoError(UserError, ValueError):
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
        self._packets = Packets(container, self.stream)
        self._dispensable = Dispensable(context)
        self._needed: set[int] | None = None  # stamps of the frames that are wanted; None: all of them are
        self._left_out: set[int] = set()  # stamps of what was not decoded, since nothing needs it
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
        elif table := self._scan():
            duration = float((table.stamps[-1] + table.tail - table.stamps[0]) * stream.time_base)
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

    def read(
        self,
        wanted: np.ndarray | None,
        render: Callable[[Any], np.ndarray],
        shape: tuple[int, int],
        info: VideoInfo,
    ) -> Frames:
        """See `decode`; `wanted` None: every frame. `render` makes uint8 [*shape, 3] of a decoded frame."""
        if wanted is None:
            return self._read_all(render, shape, info)
        if self._expected_frames(wanted.max()) > _LONG_VIDEO_FRAMES and (table := self._scan()):
            try:
                return self._read(wanted, render, info, lambda times: self._walk_needed(times, table))
            except _LostPosition:  # then only counting from the start is right
                self._rewind()
        return self._read(wanted, render, info, lambda _: self._walk())

    def _read_all(self, render: Callable[[Any], np.ndarray], shape: tuple[int, int], info: VideoInfo) -> Frames:
        budget = self.limits.max_output_bytes // (shape[0] * shape[1] * 3)
        images, indices, times = [], [], []
        for index, time, frame in self._walk():
            if index >= budget:
                raise VideoError(f"more than {budget} frames of {shape[1]}x{shape[0]}", self.name)
            images.append(render(frame))
            indices.append(index)
            times.append(time)
        self._check_end(times[-1], info.duration, info)
        return Frames(np.stack(images), np.array(indices), np.array(times), info)

    def _read(
        self,
        wanted: np.ndarray,
        render: Callable[[Any], np.ndarray],
        info: VideoInfo,
        walk: Callable[[Sequence[float]], Iterator[tuple[int, float, Any]]],
    ) -> Frames:
        images: list[np.ndarray] = []
        indices: list[int] = []
        times: list[float] = []

        def keep(index: int, time: float, frame: Any) -> None:
            several = indices and indices[-1] == index  # times on one frame
            images.append(images[-1] if several else render(frame))
            indices.append(index)
            times.append(time)

        order = np.argsort(wanted, kind="stable")
        ascending = wanted[order].tolist()
        position, shown, lag = 0, None, 0.0
        for index, time, frame in walk(ascending):
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

    def _walk(self) -> Iterator[tuple[int, float, Any]]:
        """(index, time, frame) of every frame in order of presentation."""
        last = 0.0
        for index, frame in enumerate(self._all_frames()):
            if frame.pts is None:
                time = index / float(self.stream.average_rate or 25)
            else:
                time = float(frame.pts - self._origin()) * float(self.stream.time_base)
            last = max(last, time)  # time stamps that run backwards stand still
            yield index, last, frame

    def _walk_needed(self, ascending: Sequence[float], table: Table) -> Iterator[tuple[int, float, Any]]:
        """The same, of the frames on screen at the times only, decoding what these need."""
        stamps, base, origin = table.stamps, float(self.stream.time_base), self._origin()
        indices = [max(bisect.bisect_right(stamps, origin + (t + _SAME_TIME) / base) - 1, 0) for t in ascending]
        self._needed = {stamps[index] for index in indices} if table.reordered else None
        at, sought = 0, False  # next index that decoding gives; not known between a seek and its first frame
        frames = self._all_frames()
        for index in sorted(set(indices)):
            key = table.keys[max(bisect.bisect_right(table.keys, stamps[index]) - 1, 0)]
            start = bisect.bisect_left(stamps, key)
            if start > at + _SEEK_COST_FRAMES:
                self._packets.seek(key)
                frames, sought = self._stream_frames(), True
            for frame in frames:
                if frame.pts is None:
                    raise _LostPosition
                number = bisect.bisect_left(stamps, frame.pts)
                # A packet lost, time stamps out of order (packed B-frames in AVI), or a container that seeks by
                # other rules than its packets say.
                if number > index or stamps[number] != frame.pts:
                    raise _LostPosition
                if not sought and not (number >= at and self._left_out.issuperset(stamps[at:number])):
                    raise _LostPosition
                at, sought = number + 1, False
                if number == index:
                    yield index, float(frame.pts - origin) * base, frame
                    break
            else:
                raise _LostPosition

    def _origin(self) -> int:
        return self.first.pts if self.first.pts is not None else 0

    def _all_frames(self) -> Iterator[Any]:
        yield self.first
        yield from self._frames

    def _rewind(self) -> None:
        self._packets.rewind()
        self.errors.clear()
        self._needed = None
        self._frames = self._stream_frames()
        self.first = next(self._frames, self.first)

    def close(self) -> None:
        """Lets go of packets and frames at once: generators and reader hold each other."""
        self._frames.close()
        self._packets.close()

    def _expected_frames(self, until: float) -> float:
        return min(until * float(self.stream.average_rate or 25), self.stream.frames or float("inf"))

    def _stream_frames(self) -> Generator[Any, None, None]:
        """Decoded frames from where the container stands; packets that do not decode are noted and left out."""
        for packet in self._packets:
            if self._needed is not None and packet.pts not in self._needed and self._dispensable(packet):
                self._left_out.add(packet.pts)
                continue
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

    def _scan(self) -> Table | None:
        """Time stamps of every packet, without decoding; None where the container has none."""
        if not self._packets.kept and not self._packets.scanned:
            table = self._packets.scan()
            self._rewind()
            return table
        return self._packets.scan()


class _LostPosition(Exception):
    """After a seek the decoder gives frames that the packet table does not know."""


def _disposition(stream: Any) -> str:
    return stream.disposition.name or ""
