"""Demuxer of one video stream: packets on one continuous timeline, and a table of their time stamps and flags.

Time stamps may restart inside a file (concatenated transport streams and Matroska files, recordings with breaks); each
later part is shifted to the end of the previous one, so that the whole video has one timeline.
"""

import contextlib
import dataclasses
import itertools
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import av.error

from svilm_jax.video.bitstream import Bitstream

# Seconds before the start to seek to if the start itself is not found: MPEG-TS seeks by decoding time stamps.
_SEEK_MARGIN = 10
# Files up to this size are read once and their packets kept in memory while the file is open; others are read again.
_KEPT_BYTES = 64 << 20
# Seconds by which a decoding time is below its predecessor, or above it in containers whose time stamps may jump, where
# time stamps restart. The second value is FFmpeg's own threshold (dts_delta_threshold).
_JUMP_BACK, _JUMP_AHEAD = 1.0, 10.0
# Containers that may contain decoding times only.
_UNORDERED = frozenset({"avi", "asf", "mxf"})
# Containers with time stamps, for which FFmpeg may still report no start time if the file has few packets.
_TIMED = frozenset({"matroska", "mp4", "flv", "asf", "avi", "mxf", "ivf", "nut", "ogg"})
_BROADCAST = frozenset({"mpegts", "mpeg"})


@dataclasses.dataclass(frozen=True)
class PacketTable:
    """Time stamps of the packets of a stream, in ticks of its time base, on one timeline.

    Attributes:
      stamps: time stamps of all shown pictures, ascending; empty if the file has no time stamps.
      keys: time stamps at which exact decoding can start, ascending.
      end: time at which the last picture leaves the screen.
      pictures: number of packets with a shown picture.
      reordered: whether packets are not in the order of their time stamps, which proves that these are presentation
        times: AVI gives packets of B-frames the time stamps of their neighbors.
      own: whether the time stamps are presentation times, not decoding times.
      seekable: whether they are, and decoding can start at each of `keys`.
    """

    stamps: list[int]
    keys: list[int]
    end: int
    pictures: int
    reordered: bool
    own: bool
    seekable: bool


class Packets(Iterator[Any]):
    """The packets of one stream in file order, with time stamps on one timeline.

    Args:
      container, stream: PyAV container and stream, positioned at the start.
      reopen: function that opens the same file again, for containers that cannot seek back to their start.
    """

    def __init__(self, container: Any, stream: Any, reopen: Callable[[], Any]):
        self._container, self._stream, self._reopen = container, stream, reopen
        self._bitstream = Bitstream(stream.codec_context)
        self._source: Iterator[Any] = container.demux(stream)
        self._kept: list[Any] | None = [] if 0 < container.size <= _KEPT_BYTES else None
        self._next = 0  # index into the kept packets
        self._first: Any = None  # packet of a file whose packets are not kept
        self._failure: av.error.FFmpegError | None = None  # the error with which the file ended, if any
        self._timeline: _Timeline | None = _Timeline(container, stream, self._bitstream)
        self._positions: dict[int, int] = {}  # time stamps of random access points -> index into the kept packets
        self._table: PacketTable | None = None
        self.moved = False  # whether the position was lost, so that `rewind` must be called

    def __next__(self) -> Any:
        if self._kept is None:
            packet = next(self._source)
            self._first = self._first or packet
            if self._timeline is not None:
                self._timeline.place(packet)
            return packet
        if self._next == len(self._kept):
            self._read()
        self._next += 1
        return self._kept[self._next - 1]

    def disposable(self, packet: Any) -> bool:
        """Returns whether no other picture depends on the picture of this packet."""
        return self._bitstream.disposable(packet)

    def seek(self, key: int) -> None:
        """Seeks to the packet with time stamp `key`, one of the table's keys, and restarts the decoder."""
        if self._kept is None:
            self._container.seek(key, stream=self._stream, backward=True, any_frame=False)
            self._source, self._timeline = self._container.demux(self._stream), None
            return
        self._next = self._positions[key]
        self._stream.codec_context.flush_buffers()

    def rewind(self) -> None:
        """Seeks to the first packet and restarts the decoder."""
        self.moved = False
        if self._kept is not None:
            self._next = 0
            self._stream.codec_context.flush_buffers()
            return
        start = self._stream.start_time
        if start is not None:  # elementary streams have no time stamps to seek to
            for stamp in (start, start - int(_SEEK_MARGIN / self._stream.time_base)):
                with contextlib.suppress(av.error.FFmpegError, StopIteration):
                    self.seek(stamp)
                    packet = next(self._source)
                    if self._first is None or _same(packet, self._first):
                        self._begin(itertools.chain([packet], self._source))
                        return
        # Matroska seeks to key frames only, and the first frame of a cut file may be another one.
        stream = self._reopen().streams[self._stream.index]
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
        self._container, self._stream = stream.container, stream
        self._begin(self._container.demux(stream))

    def _begin(self, source: Iterator[Any]) -> None:
        self._source = source
        self._timeline = _Timeline(self._container, self._stream, self._bitstream)

    def scan(self) -> PacketTable:
        """Reads all packets once, without decoding; the position is lost if packets are not kept."""
        if self._table is None:
            self._table = self._look()
            self.moved = self._kept is None
        return self._table

    def _look(self) -> PacketTable:
        stamps: list[int] = []
        pictures, complete = 0, True
        latest = (0, 0)  # time stamp and duration of the picture shown last
        duration = 0  # of the last packet in the file
        for packet in self._every():
            if packet.size == 0 or packet.is_discard or self._bitstream.hidden(packet):
                continue  # end of the stream; excluded by an edit list; only a reference for other pictures
            pictures += 1
            stamp = packet.pts
            if stamp is None:
                complete, stamp = False, packet.dts
                if stamp is None:
                    continue
            duration = packet.duration or 0
            if not stamps or stamp >= latest[0]:
                latest = (stamp, duration)
            stamps.append(stamp)
        assert self._timeline is not None  # it is dropped by `seek` only, which needs the scan
        timeline = self._timeline
        keys = sorted(timeline.keys.intersection(stamps))
        ascending = sorted(stamps)
        reordered = ascending != stamps
        # MP4 states the time from each packet to the next in decoding order: the last of these values belongs to the
        # picture that is shown last. Other containers state how long the packet's own picture is on screen.
        stays = duration if reordered and "mp4" in self._container.format.name else latest[1]
        # AVI has decoding times only, and ASF and MXF may: with B-frames these differ from presentation times.
        own = reordered or self._container.format.name not in _UNORDERED or not self._stream.codec_context.has_b_frames
        seekable = (
            own and complete and bool(keys) and timeline.continues and not (timeline.jumps and self._kept is None)
        )
        timed = _TIMED & set(self._container.format.name.split(","))
        if self._stream.start_time is None and not timed:  # time stamps computed by FFmpeg for elementary streams
            ascending, seekable = [], False
        end = latest[0] + (stays or _typical_gap(ascending) or self._frame_ticks())
        return PacketTable(ascending, keys, end, pictures, reordered, own, seekable)

    def _frame_ticks(self) -> int:
        rate = self._stream.average_rate or self._stream.guessed_rate or 25
        return max(1, round(1 / (rate * self._stream.time_base)))

    def reached(self) -> float:
        """Returns the seconds at which the last packet of any stream of the file ends."""
        reached = 0.0
        with contextlib.suppress(av.error.FFmpegError):  # packets before the damage count
            for packet in self._reopen().demux():  # not every container can seek back to its start
                stamp = packet.dts if packet.pts is None else packet.pts
                if stamp is not None:
                    reached = max(reached, float((stamp + (packet.duration or 0)) * packet.time_base))
        return reached

    @property
    def encrypted(self) -> bool:
        """Whether a key frame seen so far is protected (common encryption)."""
        return self._timeline is not None and self._timeline.encrypted

    def close(self) -> None:
        """Releases the kept packets."""
        self._source, self._first = iter(()), None
        self._kept = [] if self._kept is not None else None

    def _read(self) -> None:
        assert self._kept is not None
        assert self._timeline is not None
        if self._failure is not None:
            raise self._failure
        try:
            packet = next(self._source)
        except av.error.FFmpegError as error:
            self._failure = error
            raise
        if self._timeline.place(packet):
            self._positions.setdefault(packet.pts, len(self._kept))
        self._kept.append(packet)

    def _every(self) -> Iterator[Any]:
        """Yields all packets up to the end of the file, or to the first error."""
        if self._kept is None:
            self.rewind()
            while True:
                try:
                    yield next(self)
                except (StopIteration, av.error.FFmpegError):
                    return
        yield from self._kept
        while True:
            try:
                self._read()
            except (StopIteration, av.error.FFmpegError):
                return
            yield self._kept[-1]


class _Timeline:
    """Converter of restarting time stamps to one timeline, on which the parts of a stream follow each other.

    Attributes:
      keys: time stamps of random access points so far.
      jumps: number of restarts of the time stamps.
      encrypted: whether a key frame is encrypted.
      continues: whether the decoder configuration is unchanged; if it changes, decoding cannot start in a later part.
    """

    def __init__(self, container: Any, stream: Any, bitstream: Bitstream):
        self._bitstream = bitstream
        self._back = int(_JUMP_BACK / stream.time_base)
        self._ahead = int(_JUMP_AHEAD / stream.time_base) if container.format.name in _BROADCAST else None
        self.keys: set[int] = set()
        self.jumps, self.continues, self.encrypted = 0, True, False
        self._offset, self._reached, self._packets = 0, 0, 0
        self._last_dts: int | None = None
        self._last_key: int | None = None

    def place(self, packet: Any) -> bool:
        """Shifts the time stamps of a packet to the timeline; returns whether it is a random access point with one."""
        pts, dts = packet.pts, packet.dts
        self._packets += 1
        stamp = dts if pts is None else pts
        if stamp is None:
            return False
        key = packet.is_keyframe and self._bitstream.random_access(packet)
        if packet.is_keyframe:
            self.encrypted = self.encrypted or packet.has_sidedata("encryption_info")
            self.continues = self.continues and not (self._packets > 1 and packet.has_sidedata("new_extradata"))
        if self._jumps(pts, dts, key):
            self._offset = self._reached - stamp
            self.jumps += 1
        if dts is not None:
            self._last_dts = dts
        if key and pts is not None:
            self._last_key = pts
        if self._offset:
            packet.pts = None if pts is None else pts + self._offset
            packet.dts = None if dts is None else dts + self._offset
        ends = stamp + self._offset + (packet.duration or 0)
        self._reached = max(self._reached, ends) if self._packets > 1 else ends
        if key and pts is not None:
            self.keys.add(packet.pts)
            return True
        return False

    def _jumps(self, pts: int | None, dts: int | None, key: bool) -> bool:
        if dts is not None and self._last_dts is not None:
            step = dts - self._last_dts
            if step < -self._back or (self._ahead is not None and step > self._ahead):
                return True
        # Random access points are in presentation order. Matroska has no decoding times.
        return key and pts is not None and self._last_key is not None and pts < self._last_key


def _same(one: Any, other: Any) -> bool:
    """Returns whether two packets are the same; decoding times may be recomputed after a seek."""
    return (one.pts, one.size, one.pos) == (other.pts, other.size, other.pos)


def _typical_gap(ascending: list[int]) -> int:
    gaps = [b - a for a, b in itertools.pairwise(ascending) if b > a]
    return round(statistics.median(gaps)) if gaps else 0
