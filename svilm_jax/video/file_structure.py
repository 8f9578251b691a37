"""Structure of media files from their bytes: truncation, and concatenated files of which only the first is readable.

FFmpeg decodes as far as it can and reports neither that the rest is missing nor that it stopped where a second video
begins. Only boxes and headers are parsed, never pictures; unknown facts are reported as unknown.
"""

import dataclasses
import struct
from typing import IO

from svilm_jax.filesystem.file_signatures import SIGNATURE_BYTES

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # IDs of Matroska elements
_MP4_FIRST = frozenset((b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"))
_MAX_BOXES = 1000  # of the top level; a file with more is a fragmented one
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_FLV_TAGS = frozenset((8, 9, 18))  # sound, video, script
_FLV_SIZE = b"\0\x08filesize\0"  # a number follows
_IVF = b"DKIF\0\0\x20\0"
_MXF = bytes.fromhex("060e2b34020501010d0102010102")  # the header's partition pack
# First bytes of formats of which FFmpeg reads only the first of several concatenated files.
_SINGLE = (
    _ASF,
    _IVF,
    _MXF,
    b"\x89PNG\r\n\x1a\n",
    b"FLV\x01\x01\0\0\0\x09",
    b"FLV\x01\x04\0\0\0\x09",
    b"FLV\x01\x05\0\0\0\x09",
)
_SEARCH_BYTES = 1 << 20

CONCATENATED = (
    "consists of several concatenated videos, of which only the first can be read: join them with FFmpeg's concat"
)


@dataclasses.dataclass(frozen=True)
class FileStructure:
    """Facts from the bytes of a file.

    Attributes:
      truncated: whether the file is shorter than it states; None: unknown.
      seconds: duration stated in the file, for formats in which FFmpeg ignores it (ASF); 0: unknown.
      fault: reason why the file cannot be used; "": none.
    """

    truncated: bool | None = None
    seconds: float = 0.0
    fault: str = ""


UNKNOWN = FileStructure()


def examine(file: IO[bytes], size: int) -> FileStructure:
    """Reads the structure of a file of `size` bytes, and moves its position."""
    file.seek(0)
    head = file.read(SIGNATURE_BYTES)
    if head[4:8] in _MP4_FIRST:
        return FileStructure(fault=_mp4_fault(file, size))
    single = next((first for first in _SINGLE if head.startswith(first)), None)
    if single is not None and _occurs(file, single, len(single)):
        return FileStructure(fault=CONCATENATED)
    if head.startswith(_ASF):
        return _asf(head, size)
    if head.startswith(b"FLV\x01"):
        return FileStructure(_flv_truncated(file, head, size))
    if head.startswith(_IVF):
        return FileStructure(_ivf_truncated(file, size))
    if head.startswith(_MXF):
        return FileStructure(_mxf_truncated(head, size))
    return FileStructure(_truncated_by_stated_size(head, size))


def _truncated_by_stated_size(head: bytes, size: int) -> bool | None:
    """Matroska and WebM state the size of their segment, AVI that of its first chunk; streamed files state none."""
    if head.startswith(_EBML):
        length, place = _ebml_size(head, 4)
        place += length or 0
        if length is None or head[place : place + 4] != _SEGMENT:
            return None
        length, place = _ebml_size(head, place + 4)
        return None if length is None else place + length > size
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        length = int.from_bytes(head[4:8], "little")
        return 8 + length > size if 0 < length < 0xFFFFFFFF else None
    return None


def _ebml_size(data: bytes, place: int) -> tuple[int | None, int]:
    """Returns (size of an EBML element, position after the size field); None for an element of unknown size."""
    if place >= len(data) or not data[place]:
        return None, place
    width = 9 - data[place].bit_length()
    value = int.from_bytes(data[place : place + width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), place + width


def _mp4_fault(file: IO[bytes], size: int) -> str:
    """Returns a fault in the boxes of an MP4 or QuickTime file: an incomplete index, or the boxes of two videos.

    If the index is complete, it contains the position of every sample, and FFmpeg detects missing ones.
    """
    place, kinds = 0, list[bytes]()
    for _ in range(_MAX_BOXES):
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            break
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:  # up to the end of the file
            length = size - place
        if length < 8 or not kind.isascii() or kind == b"moof":
            return ""
        kinds.append(kind)
        place += length
        if kind == b"moov" and place > size:
            return "truncated: the file ends inside its index (the moov box)"
        if kinds.count(b"moov") > 1 and (kinds.count(b"ftyp") > 1 or kinds.count(b"mdat") > 1):
            return CONCATENATED
    # Still pictures (AVIF, HEIF) have a `meta` box instead.
    if not {b"moov", b"meta"} & set(kinds) and place >= size:
        return "truncated or incomplete: its index (the moov box) is missing"
    return ""


def _asf(head: bytes, size: int) -> FileStructure:
    place = head.find(_ASF_PROPERTIES)
    if place < 0 or place + 92 > len(head):
        return UNKNOWN
    stated, played, preroll, flags = (
        int.from_bytes(head[place + at : place + at + width], "little")
        for at, width in ((40, 8), (64, 8), (80, 8), (88, 4))
    )
    if flags & 1 or not stated:  # a broadcast states neither size nor duration
        return UNKNOWN
    return FileStructure(stated > size, max(0.0, played / 1e7 - preroll / 1e3))


def _flv_truncated(file: IO[bytes], head: bytes, size: int) -> bool:
    """Returns whether an FLV file is shorter than its metadata state, or does not end with a tag and its size."""
    place = head.find(_FLV_SIZE)
    number = head[place + len(_FLV_SIZE) :][:8]
    if place >= 0 and len(number) == 8 and struct.unpack(">d", number)[0] > size:
        return True
    file.seek(max(size - 4, 0))
    length = int.from_bytes(file.read(4), "big")
    if not 11 <= length <= size - 13:
        return True
    file.seek(size - 4 - length)
    tag = file.read(4)
    return tag[0] & 31 not in _FLV_TAGS or int.from_bytes(tag[1:], "big") + 11 != length


def _ivf_truncated(file: IO[bytes], size: int) -> bool:
    place = 32
    while place + 12 <= size:
        file.seek(place)
        place += 12 + int.from_bytes(file.read(4), "little")
    return place != size


def _mxf_truncated(head: bytes, size: int) -> bool | None:
    """Compares the size of an MXF file with the position of its footer, which complete files state in the header."""
    if len(head) < 17:
        return None
    place = 17 + (head[16] & 0x7F if head[16] & 0x80 else 0)  # after the length of the partition pack
    footer = int.from_bytes(head[place + 24 : place + 32], "big")
    return footer >= size if footer else None


def _occurs(file: IO[bytes], wanted: bytes, start: int) -> bool:
    """Returns whether `wanted` occurs at or after position `start`."""
    file.seek(start)
    tail = b""
    while chunk := file.read(_SEARCH_BYTES):
        if wanted in tail + chunk:
            return True
        tail = chunk[-len(wanted) :]
    return False
