"""Repair of malformed Unicode: lone UTF-16 surrogates, which no file, database or tokenizer accepts.

JSON can hold half an emoji ("\\ud83d"), and so can an argument or a file name that is not valid in the terminal's
encoding. Python keeps such a surrogate as a character and fails where the string is encoded, far from its source.
"""

import io
import re
from typing import IO, Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_HALF = re.compile("[\ud800-\udfff]")
_FIRST, _SECOND = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
# Escapes of JSON that have to be read as one, so that a half is told from a pair, and an escape from a backslash.
_ESCAPES = re.compile(rb"\\[^u]|" + _FIRST + _SECOND + rb"|(" + _FIRST + rb"|" + _SECOND + rb")")
_PAIR_BYTES = 12  # of an escaped pair: what has to be seen at once
_CHUNK_BYTES = 1 << 16


def repaired(text: str) -> tuple[str, int]:
    """A text that every encoder of Unicode accepts, and how many halves of pairs were replaced by U+FFFD.

    Two halves that belong together become the character that they spell, and are not counted.
    """
    if not _HALF.search(text):
        return text, 0
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _HALF.subn(REPLACEMENT, joined)


class Repairs:
    """Count of the strings of a document that were repaired, and where the first one stood.

    Attributes:
      count: strings.
      first: file and place of the first; "" before there is one.
    """

    def __init__(self) -> None:
        """Nothing repaired yet."""
        self.count, self.first = 0, ""

    def note(self) -> str:
        """For the summary of a preparation; "" where nothing was repaired."""
        if not self.count:
            return ""
        return f"{self.count:,} texts, the broken part replaced by U+FFFD (first: {self.first})"

    def apply(self, value: Any, where: str, path: str = "") -> Any:
        """A JSON value with all its strings repaired, names of objects included.

        Args:
          value: nested no deeper than `json_reader.MAX_DEPTH`.
          where: the file, and line where it has lines, for `first`.
          path: to `value` in the document.
        """
        if isinstance(value, str):
            text, halves = repaired(value)
            if halves:
                self.count += 1
                self.first = self.first or without_folders(f"{where}: {path.lstrip('.')}" if path else where)
            return text
        if isinstance(value, list):
            return [self.apply(item, where, f"{path}[{number}]") for number, item in enumerate(value)]
        if isinstance(value, dict):
            return {
                self.apply(name, where, path): self.apply(item, where, f"{path}.{name}") for name, item in value.items()
            }
        return value


class RepairedJson(io.RawIOBase):
    """The bytes of a JSON document as a stream, in which escaped halves are replaced and counted.

    For parsers of streams, which replace a half by a question mark without a word, or fail.
    """

    def __init__(self, stream: IO[bytes], repairs: Repairs, where: str):
        """`stream` is read as this one is; `where` names it in `repairs`."""
        self._stream, self._repairs, self._where = stream, repairs, where
        self._waiting, self._made, self._ended = b"", b"", False

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a part of `buffer`; 0 at the end."""
        while not self._made and not self._ended:
            read = self._stream.read(_CHUNK_BYTES)
            self._ended = not read
            data = self._waiting + read
            cut = len(data) if self._ended else _whole_escapes(data)
            self._made, self._waiting = self._mended(data[:cut]), data[cut:]
        size = min(len(buffer), len(self._made))
        buffer[:size] = self._made[:size]
        self._made = self._made[size:]
        return size

    def _mended(self, data: bytes) -> bytes:
        if b"\\ud" not in data and b"\\uD" not in data:
            return data
        return _ESCAPES.sub(self._replaced, data)

    def _replaced(self, escape: re.Match[bytes]) -> bytes:
        if escape[1] is None:
            return escape[0]
        self._repairs.count += 1
        self._repairs.first = self._repairs.first or without_folders(self._where)
        return b"\\ufffd"


def _whole_escapes(data: bytes) -> int:
    """How much of the start of `data` ends with no escape, or pair of them, that may go on behind its end."""
    cut = data.find(b"\\", max(0, len(data) - _PAIR_BYTES))
    if cut < 0:
        return len(data)
    while cut > 0 and data[cut - 1 : cut] == b"\\":
        cut -= 1
    if re.fullmatch(_FIRST, data[max(0, cut - _PAIR_BYTES // 2) : cut]):  # the first half of a pair that goes on
        cut -= _PAIR_BYTES // 2
        while cut > 0 and data[cut - 1 : cut] == b"\\":
            cut -= 1
    return cut


def without_folders(where: str) -> str:
    """A place such as "DIR/captions.csv: line 3" without the folders, which say something of the machine alone."""
    file, colon, rest = where.partition(": ")
    return file.rpartition("/")[2] + colon + rest
