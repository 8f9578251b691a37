"""In what pieces does an encoded video come, where can decoding start, and which pieces may be left out?

A picture that no other picture is predicted from (most B-frames; half of all frames in what x264 writes by default)
need not be decoded to get at the others: leaving it out changes no pixel of them.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import av.error

# Seconds before the start to seek to where the start itself is not found: MPEG-TS looks for it by another time stamp.
_WELL_BEFORE = 10
# Files up to this size are read once, and their packets kept while the file is open; others are read again.
_KEPT_BYTES = 64 << 20

_H264_SLICE = 1
_H264_ALONGSIDE = frozenset({6, 9, 12})  # remarks, delimiters, filling: nothing that later pictures need
_MPEG4_B_PICTURE = 2


@dataclasses.dataclass(frozen=True)
class Table:
    """Time stamps of all packets of a stream.

    Attributes:
      stamps: of every packet, ascending.
      keys: those of them where decoding can start, ascending.
      tail: duration of the last one.
      reordered: whether the file holds packets in another order than that of their stamps, which tells that the stamps
        are those of the pictures: AVI gives packets of B-frames the stamps of their neighbours.
    """

    stamps: list[int]
    keys: list[int]
    tail: int
    reordered: bool


class Packets(Iterator[Any]):
    """The packets of one stream in the order of the file."""

    def __init__(self, container: Any, stream: Any):
        self._container, self._stream = container, stream
        self._source: Iterator[Any] = container.demux(stream)
        self._kept: list[Any] | None = [] if 0 < container.size <= _KEPT_BYTES else None
        self._next = 0  # of those kept
        self._first: Any = None  # packet of a file that is not kept
        self._failure: av.error.FFmpegError | None = None  # what ended the file, where it did not simply end
        self._table: Table | None = None
        self.scanned = False

    def __next__(self) -> Any:
        if self._kept is None:
            packet = next(self._source)
            self._first = self._first or packet
            return packet
        if self._next == len(self._kept):
            self._read()
        self._next += 1
        return self._kept[self._next - 1]

    def seek(self, key: int) -> None:
        """Goes to the packet with stamp `key`, one of the table's keys; the decoder starts anew."""
        if self._kept is None:
            self._container.seek(key, stream=self._stream, backward=True, any_frame=False)
            self._source = self._container.demux(self._stream)
            return
        self._next = next(i for i, packet in enumerate(self._kept) if packet.pts == key and packet.is_keyframe)
        self._stream.codec_context.flush_buffers()

    def rewind(self) -> None:
        """Goes to the first packet; the decoder starts anew.

        Raises:
          OSError: the container does not find its start again.
        """
        if self._kept is not None:
            self._next = 0
            self._stream.codec_context.flush_buffers()
            return
        start = self._stream.start_time or 0
        for stamp in (start, start - int(_WELL_BEFORE / self._stream.time_base)):
            self.seek(stamp)
            packet = next(self._source)
            if self._first is None or (packet.pts, packet.dts) == (self._first.pts, self._first.dts):
                self._source = itertools.chain([packet], self._source)
                return
        raise OSError("its start is not found a second time")

    def scan(self) -> Table | None:
        """Looks at all packets without decoding; None where they have no time stamps.

        The position stays for a file whose packets are kept; others have to be rewound after the first time.
        """
        if not self.scanned:
            self.scanned = True
            with contextlib.suppress(av.error.FFmpegError):  # raised again where reading comes to that place
                self._table = self._look()
        return self._table

    def _look(self) -> Table | None:
        stamps, keys, tail = [], [], (0, 0)
        for packet in self._every():
            if packet.size == 0:  # tells the decoder that no more will come
                continue
            if packet.pts is None:
                return None
            stamps.append(packet.pts)
            tail = max(tail, (packet.pts, packet.duration or 0))
            if packet.is_keyframe:
                keys.append(packet.pts)
        ascending = sorted(stamps)
        return Table(ascending, sorted(keys), tail[1], ascending != stamps) if keys else None

    @property
    def kept(self) -> bool:
        """Whether the file is read once only."""
        return self._kept is not None

    def close(self) -> None:
        """Lets go of what is kept."""
        self._source, self._first = iter(()), None
        self._kept = [] if self._kept is not None else None

    def _read(self) -> None:
        assert self._kept is not None
        if self._failure is not None:
            raise self._failure
        try:
            self._kept.append(next(self._source))
        except av.error.FFmpegError as error:
            self._failure = error
            raise

    def _every(self) -> Iterator[Any]:
        if self._kept is None:
            self.rewind()
            yield from self._source
            return
        yield from self._kept
        while True:
            try:
                self._read()
            except StopIteration:
                return
            yield self._kept[-1]


class Dispensable:
    """Tells packets whose picture no other picture needs. Where it cannot tell it says no."""

    def __init__(self, codec_context: Any):
        self._codec = codec_context.name
        extra = codec_context.extradata or b""
        # MP4 and Matroska put the length before each unit, in so many bytes; others a start code.
        self._prefix = (extra[4] & 3) + 1 if len(extra) > 4 and extra[0] == 1 else 0

    def __call__(self, packet: Any) -> bool:
        if self._codec == "h264":
            return self._h264(bytes(packet))
        if self._codec == "mpeg4":
            pictures = [data for data in bytes(packet).split(b"\0\0\1")[1:] if data[:1] == b"\xb6"]
            return len(pictures) == 1 and len(pictures[0]) > 1 and pictures[0][1] >> 6 == _MPEG4_B_PICTURE
        return False

    def _h264(self, data: bytes) -> bool:
        slices = 0
        for head in self._heads(data):
            kind, needed = head & 31, head & 0x60  # nal_unit_type, nal_ref_idc (ITU-T H.264, 7.3.1)
            if kind == _H264_SLICE and not needed:
                slices += 1
            elif kind not in _H264_ALONGSIDE:
                return False
        return slices > 0

    def _heads(self, data: bytes) -> Iterator[int]:
        """First byte of every unit."""
        if not self._prefix:
            yield from (part[0] for part in data.split(b"\0\0\1")[1:] if part)
            return
        place = 0
        while place + self._prefix < len(data):
            yield data[place + self._prefix]
            place += self._prefix + int.from_bytes(data[place : place + self._prefix], "big")
