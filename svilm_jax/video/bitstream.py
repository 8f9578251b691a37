"""Inspection of encoded packets: random access points, disposable pictures and hidden pictures.

A picture that is not used as a reference (most B-frames; half of all frames in x264's default settings) need not be
decoded to decode the others: skipping it changes no pixel of them. A random access point is a picture from which
decoding yields exact pictures, in presentation order. FFmpeg's key-frame flag covers more than that: in H.264 it
includes recovery points after which pictures become exact only gradually (periodic intra refresh, gradual decoder
refresh).
"""

from collections.abc import Iterator
from typing import Any

_H264_SLICE, _H264_IDR, _H264_SEI = 1, 5, 6  # nal_unit_type (ITU-T H.264, table 7-1)
_H264_ALONGSIDE = frozenset({_H264_SEI, 9, 12})  # metadata, delimiters, filler: not needed by later pictures
_SEI_RECOVERY_POINT = 6  # payloadType (ITU-T H.264, annex D)
_MPEG4_B_PICTURE = 2
_VP8_SHOW_FRAME = 0x10

# Codecs in which a key frame, as flagged by the container or the parser, starts exact decoding (in HEVC: IDR, BLA and
# CRA, whose skipped leading pictures precede them in presentation). For a codec that is neither here nor intra-only,
# decoding starts at the start of the file. The decoder verifies there that the first decoded picture is a key frame.
_RELIABLE_KEY_FRAMES = frozenset(
    ("hevc", "vp8", "vp9", "av1", "libdav1d", "libaom-av1", "libvpx", "libvpx-vp9", "mpeg1video", "mpeg2video", "mpeg4")
    + (
        "msmpeg4",
        "msmpeg4v1",
        "msmpeg4v2",
        "wmv1",
        "wmv2",
        "wmv3",
        "vc1",
        "flv",
        "h263",
        "theora",
        "vp3",
        "vp6",
        "vp6f",
    )
)


class Bitstream:
    """Properties of the packets of one stream; a property that cannot be determined has its conservative value."""

    def __init__(self, codec_context: Any):
        self._codec = codec_context.name
        self._reliable = self._codec in _RELIABLE_KEY_FRAMES or codec_context.codec.intra_only
        extra = codec_context.extradata or b""
        # Bytes of the length field before each unit in MP4 and Matroska; 0: start codes, as in other containers.
        self._prefix = (extra[4] & 3) + 1 if len(extra) > 4 and extra[0] == 1 else 0

    def random_access(self, packet: Any) -> bool:
        """Returns whether decoding from this packet gives exact pictures from its own picture on."""
        if not packet.is_keyframe:
            return False
        return self._h264_random_access(bytes(packet)) if self._codec == "h264" else self._reliable

    def disposable(self, packet: Any) -> bool:
        """Returns whether no other picture depends on the picture of this packet."""
        if self._codec == "h264":
            return self._h264_disposable(bytes(packet))
        if self._codec == "mpeg4":
            pictures = [data for data in bytes(packet).split(b"\0\0\1")[1:] if data[:1] == b"\xb6"]
            return len(pictures) == 1 and len(pictures[0]) > 1 and pictures[0][1] >> 6 == _MPEG4_B_PICTURE
        return False

    def hidden(self, packet: Any) -> bool:
        """Returns whether the picture of this packet is only a reference for others and never shown."""
        return self._codec in ("vp8", "libvpx") and not memoryview(packet)[0] & _VP8_SHOW_FRAME

    def _h264_random_access(self, data: bytes) -> bool:
        """Detects an IDR picture, or a recovery point without delay and with exact pictures (ITU-T H.264, D.2.8)."""
        for unit in self._units(data):
            kind = unit[0] & 31
            if kind == _H264_IDR:
                return True
            if kind == _H264_SEI:
                payload = _sei_payload(unit, _SEI_RECOVERY_POINT)
                # The first bit set is the Exp-Golomb code of recovery_frame_cnt 0, the second exact_match_flag.
                if payload and payload[0] & 0xC0 == 0xC0:
                    return True
            elif 1 <= kind < _H264_IDR:
                return False
        return False

    def _h264_disposable(self, data: bytes) -> bool:
        slices = 0
        for head in self._heads(data):
            kind, needed = head & 31, head & 0x60  # nal_unit_type, nal_ref_idc (ITU-T H.264, 7.3.1)
            if kind == _H264_SLICE and not needed:
                slices += 1
            elif kind not in _H264_ALONGSIDE:
                return False
        return slices > 0

    def _heads(self, data: bytes) -> Iterator[int]:
        """Yields the first byte of every NAL unit, without copying units."""
        if not self._prefix:
            yield from (part[0] for part in data.split(b"\0\0\1")[1:] if part)
            return
        place = 0
        while place + self._prefix < len(data):
            yield data[place + self._prefix]
            place += self._prefix + int.from_bytes(data[place : place + self._prefix], "big")

    def _units(self, data: bytes) -> Iterator[bytes]:
        """Yields NAL units without their start codes or lengths; none is empty."""
        if not self._prefix:
            yield from (part for part in data.split(b"\0\0\1")[1:] if part)
            return
        place = 0
        while place + self._prefix < len(data):
            length = int.from_bytes(data[place : place + self._prefix], "big")
            place += self._prefix
            if length:
                yield data[place : place + length]
            place += length


def _sei_payload(unit: bytes, wanted: int) -> bytes:
    """Returns the payload of a type in a supplemental enhancement information (SEI) unit; empty if there is none."""
    data, place = unit.replace(b"\0\0\3", b"\0\0"), 1
    while place + 2 <= len(data):
        kind, place = _sei_number(data, place)
        size, place = _sei_number(data, place)
        if kind == wanted:
            return data[place : place + size]
        place += size
    return b""


def _sei_number(data: bytes, place: int) -> tuple[int, int]:
    """Reads (type or size, next position): a sum of bytes, which continues after each byte of 255."""
    value = 0
    while place < len(data) and data[place] == 0xFF:
        value, place = value + 255, place + 1
    return (value + data[place], place + 1) if place < len(data) else (value, place)
