"""Reader of one open video file: yields frames in presentation order and decodes no more of them than needed."""

import bisect
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple

import av.error
import numpy as np

from svilm_jax.video import stream_properties
from svilm_jax.video.demuxer import Packets
from svilm_jax.video.file_structure import FileStructure
from svilm_jax.video.frame_selection import select
from svilm_jax.video.info import SAME_TIME, Frames, Limits, VideoError, VideoInfo

# Demuxers that open other files or addresses named in the file: these are not videos, and must not be followed.
_INDIRECT_FORMATS = frozenset({"hls", "dash", "concat", "concatf", "rtsp", "sdp", "imf", "webm_dash_manifest"})

# With at least this many frames before the last requested one, decoding is reduced by seeking and by skipping frames
# that no other frame depends on; for shorter videos the bookkeeping costs more than it saves.
_LONG_VIDEO_FRAMES = 24
# Number of unneeded frames up to which decoding them is cheaper than a seek, which restarts the decoder.
_SEEK_COST_FRAMES = 8
# Fraction of the duration for which the last decoded frame may replace missing ones.
_MAX_FROZEN_FRACTION = 0.25


class Damage(NamedTuple):
    """An undecodable packet: when it would appear, in seconds, if known, and FFmpeg's reason."""

    seconds: float | None
    reason: str


class VideoReader:
    """Decoder of one open file, which yields frames in presentation order.

    Args:
      container: PyAV container, positioned at its start.
      name: name of the video in error messages.
      limits: resource limits for the file.
      reopen: function that opens the same file again.
      structure: structure of the file, from its bytes.

    Attributes:
      stream: the decoded video stream.
      first: its first frame.
      damage: packets that failed to decode so far.
      decoded: number of frames decoded so far.
    """

    def __init__(self, container: Any, name: str, limits: Limits, reopen: Callable[[], Any], structure: FileStructure):
        self.container, self.name, self.limits, self._structure = container, name, limits, structure
        if _INDIRECT_FORMATS & set(container.format.name.split(",")):
            raise VideoError(f"is a playlist ({container.format.name}), not a video", name)
        self.stream = stream_properties.choose_stream(container, name)
        context = self.stream.codec_context
        if context is None:
            raise VideoError("has a video stream of a codec that this FFmpeg cannot decode", name)
        # Clips are decoded in parallel with each other; threads within one would only add start-up time.
        context.thread_type, context.thread_count = "NONE", 1
        self._check_size(context.width, context.height)
        self.damage: list[Damage] = []
        self.decoded = 0
        self._packets = Packets(container, self.stream, reopen)
        self._needed: set[int] | None = None  # time stamps of the requested frames; None: all frames
        self._skipped: set[int] = set()  # time stamps of packets on which no other frame depends
        self._frames = self._stream_frames()
        self.first: Any = next(self._frames, None)
        if self.first is None:
            raise VideoError(self._nothing_decodes(), name)
        self._read_table()

    def _read_table(self) -> None:
        """Reads the properties from the packets; those before the first decodable frame are not part of the video."""
        table = self._packets.scan()
        if self._packets.encrypted:  # also after an unencrypted beginning
            raise VideoError(self._nothing_decodes(), self.name)
        self._table, self._stamps, self._keys = table, table.stamps, table.keys
        if self.first.pts is not None and table.stamps:
            self._stamps = table.stamps[bisect.bisect_left(table.stamps, self.first.pts) :] or [self.first.pts]
            self._keys = table.keys[bisect.bisect_left(table.keys, self.first.pts) :]
        self._base = float(self.stream.time_base)
        self._origin = self.first.pts if self.first.pts is not None else (self._stamps or [0])[0]
        self._rate = stream_properties.elementary_rate(self.container, self.stream)  # for streams without stamps
        self._info = stream_properties.gather(
            self.container, self.stream, self.first, self._table, self._stamps, self._packets.reached, self._structure
        )
        if self._packets.moved:
            self._rewind()

    def _nothing_decodes(self) -> str:
        if self._packets.encrypted:
            return "is encrypted (DRM); expected a video without copy protection"
        return "no frame decodes" + (f" ({self.damage[0].reason})" if self.damage else "")

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self.limits.max_pixels:
            raise VideoError(f"{width}x{height} pixels exceed the limit of {self.limits.max_pixels}", self.name)

    def info(self) -> VideoInfo:
        """Returns the properties of the stream.

        Raises:
          VideoError: the duration or the size of the pictures exceeds the limits.
        """
        if self._info.duration > self.limits.max_seconds:
            raise VideoError(
                f"{self._info.duration:.0f} s exceed the limit of {self.limits.max_seconds:.0f} s", self.name
            )
        self._check_size(self._info.width, self._info.height)
        return self._info

    def read(
        self,
        wanted: np.ndarray | None,
        render: Callable[[Any], np.ndarray],
        shape: tuple[int, int],
        info: VideoInfo,
    ) -> Frames:
        """Decodes the frames on screen at given times.

        Args:
          wanted: float64 [T], seconds from the first frame, in any order; None: every frame.
          render: function from a decoded frame to its pixels, uint8 [*shape, 3].
          shape: height and width of the rendered pictures.
          info: the properties of the stream.

        Returns:
          `Frames` with images uint8 [T, *shape, 3].

        Raises:
          VideoError: fewer frames decode than the times require.
        """
        if wanted is None:
            return self._read_all(render, shape, info)
        if self._table.seekable and self._number_at(wanted.max()) >= _LONG_VIDEO_FRAMES:
            try:
                return self._read(wanted, render, info, self._walk_needed)
            except _LostPosition:  # decode from the start and count frames
                self._rewind()
        return self._read(wanted, render, info, lambda _: self._walk())

    def play(self, start: float = 0.0) -> Iterator[tuple[float, Any]]:
        """Yields (seconds, frame) in presentation order to the end, from a frame on screen at or before `start`.

        A start far into the file is reached by seeking. Call it once, before anything else is read.
        """
        number = self._number_at(start) if self._table.seekable else 0
        key, before = self._key_before(number)
        if before > _SEEK_COST_FRAMES:
            self._packets.seek(key)
            self._frames = self._stream_frames()
            try:
                first = self._sync(self._frames, before)
            except _LostPosition:  # decode from the start and count frames
                self._rewind()
            else:
                yield from self._timed(itertools.chain([first], self._frames))
                return
        yield from self._timed(self._all_frames())

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
        order = np.argsort(wanted, kind="stable")
        ascending = wanted[order].tolist()
        images, indices, times, complete = select(walk(ascending), ascending, render)
        if not complete:
            self._check_end(times[-1], ascending[-1], info)
        if self.damage:
            lag = max(asked - self.leaves(time) for asked, time in zip(ascending, times, strict=True))
            if lag > _MAX_FROZEN_FRACTION * info.duration:
                self._reject(f"has a gap of {lag:.2f} s", info)
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return Frames(
            np.stack(images)[back] if (np.diff(order) < 0).any() else np.stack(images),  # [T, h, w, 3]
            np.array(indices)[back],
            np.array(times)[back],
            info,
        )

    def leaves(self, time: float) -> float:
        """Returns when, in seconds, the frame that appears at `time` leaves the screen, according to its packet."""
        if not self._stamps:
            return time + 1.0 / self._rate
        place = bisect.bisect_right(self._stamps, self._origin + (time + SAME_TIME) / self._base)
        until = self._stamps[place] if place < len(self._stamps) else self._table.end
        return (until - self._origin) * self._base

    def _check_end(self, last: float, until: float, info: VideoInfo) -> None:
        """Rejects a last frame at `last` seconds that would have to be repeated for too long, until `until`."""
        frame_length = 1.0 / info.peak_fps if info.peak_fps else 0.0
        allowed = 2 * frame_length if info.missing else max(_MAX_FROZEN_FRACTION * info.duration, 2 * frame_length)
        if until - self.leaves(last) > allowed:
            self._reject(f"decodes up to {last:.2f} s, but {until:.2f} s is requested", info)

    def _reject(self, what: str, info: VideoInfo) -> None:
        why = "truncated"
        if self.damage and not info.missing:
            seconds, reason = self.damage[0]
            at = "" if seconds is None else f" at {seconds:.2f} s"
            why = f"damaged, a packet{at} does not decode ({reason})"
        raise VideoError(f"{what} of the {info.duration:.2f} s that the file states: {why}", self.name)

    def _walk(self) -> Iterator[tuple[int, float, Any]]:
        """Yields (index, time, frame) of every frame in presentation order."""
        for index, (time, frame) in enumerate(self._timed(self._all_frames())):
            yield index, time, frame

    def _timed(self, frames: Iterator[Any]) -> Iterator[tuple[float, Any]]:
        """Yields (seconds, frame) of consecutive frames."""
        last = 0.0
        for index, frame in enumerate(frames):
            if (not self._table.own or frame.pts is None) and index < len(self._stamps):
                time = (self._stamps[index] - self._stamps[0]) * self._base
            elif frame.pts is None or not self._stamps:
                time = index / self._rate
            else:
                time = (frame.pts - self._origin) * self._base
            last = max(last, time)  # a time stamp below its predecessor is raised to it
            yield last, frame

    def _walk_needed(self, ascending: Sequence[float]) -> Iterator[tuple[int, float, Any]]:
        """Yields (index, time, frame) of the frames on screen at the given times, decoding no others than needed."""
        stamps = self._stamps
        indices = [self._number_at(time) for time in ascending]
        self._needed = {stamps[index] for index in indices} if self._table.reordered else None
        at = 0  # next index that decoding gives
        frames = self._all_frames()
        for index in sorted(set(indices)):
            key, start = self._key_before(index)
            pending = None
            if start > at + _SEEK_COST_FRAMES:
                self._packets.seek(key)
                frames = self._stream_frames()
                pending, at = self._sync(frames, start), start
            while True:
                frame = pending if pending is not None else next(frames, None)
                pending = None
                if frame is None or frame.pts is None:
                    raise _LostPosition
                number = bisect.bisect_left(stamps, frame.pts)
                # A lost packet, unordered time stamps (packed B-frames in AVI), or a container whose seek index
                # disagrees with its packets.
                if not at <= number <= index or stamps[number] != frame.pts:
                    raise _LostPosition
                if not self._skipped.issuperset(stamps[at:number]):
                    raise _LostPosition
                at = number + 1
                if number == index:
                    yield index, (frame.pts - self._origin) * self._base, frame
                    break

    def _sync(self, frames: Iterator[Any], start: int) -> Any:
        """Returns the frame with number `start`, a random access point to which the packets were moved.

        Pictures before it that are decoded from missing references (the leading ones of an open GOP) are dropped.
        """
        for frame in frames:
            if frame.pts is None or frame.pts > self._stamps[start]:
                break
            if frame.pts == self._stamps[start]:
                if not frame.key_frame:
                    break
                return frame
        raise _LostPosition

    def _number_at(self, time: float) -> int:
        """Returns the number of the frame on screen at `time`, by the stamps of the packets."""
        return max(bisect.bisect_right(self._stamps, self._origin + (time + SAME_TIME) / self._base) - 1, 0)

    def _key_before(self, index: int) -> tuple[int, int]:
        """Returns (stamp, number) of the last random access point at or before frame `index`; number 0: the start."""
        place = bisect.bisect_right(self._keys, self._stamps[index]) - 1 if self._stamps else -1
        if place < 0:
            return 0, 0
        return self._keys[place], bisect.bisect_left(self._stamps, self._keys[place])

    def _all_frames(self) -> Iterator[Any]:
        yield self.first
        yield from self._frames

    def _rewind(self) -> None:
        self._packets.rewind()
        self.damage.clear()
        self._needed = None
        self._frames = self._stream_frames()
        self.first = next(self._frames, self.first)

    def close(self) -> None:
        """Releases packets and frames at once: generators and reader reference each other."""
        self._frames.close()
        self._packets.close()

    def _stream_frames(self) -> Generator[Any, None, None]:
        """Yields decoded frames from the container's position; undecodable packets are recorded and skipped."""
        for packet in self._packets:
            if self._needed is not None and packet.pts not in self._needed and self._packets.disposable(packet):
                self._skipped.add(packet.pts)
                continue
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                self.damage.append(Damage(self._seconds(packet), str(error.strerror or error)))
                continue
            for frame in frames:
                self.decoded += 1
                if self.decoded > self.limits.max_frames:
                    raise VideoError(f"more than {self.limits.max_frames} frames", self.name)
                self._check_size(frame.width, frame.height)
                yield frame

    def _seconds(self, packet: Any) -> float | None:
        first = getattr(self, "first", None)
        if packet.pts is None or first is None or first.pts is None:
            return None
        return (packet.pts - first.pts) * float(self.stream.time_base)


class _LostPosition(Exception):
    """After a seek, the decoder returned frames that are not in the packet table."""
