r"""Repair of malformed Unicode: lone UTF-16 surrogates, which no file, database or tokenizer accepts.

JSON can contain half an emoji ("\ud83d"), and so can an argument or a file name that is not valid in the terminal's
encoding. Python keeps such a surrogate as a character and fails where the string is encoded, far from its source.
"""

import io
import re
from typing import IO, Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_HALF = re.compile("[\ud800-\udfff]")
_FIRST, _SECOND = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
# JSON escapes that are matched as one, to distinguish a lone surrogate from a pair, and an escape from a backslash.
_ESCAPES = re.compile(rb"\\[^u]|" + _FIRST + _SECOND + rb"|(" + _FIRST + rb"|" + _SECOND + rb")")
_PAIR_BYTES = 12  # length of an escaped pair
_CHUNK_BYTES = 1 << 16


def repaired(text: str) -> tuple[str, int]:
    """Returns a text that every Unicode encoder accepts, and the number of surrogates replaced by U+FFFD.

    Two surrogates that form a pair become the character that they encode, and are not counted.
    """
    if not _HALF.search(text):
        return text, 0
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _HALF.subn(REPLACEMENT, joined)


class Repairs:
    """Count of repaired strings in a document, with the location of the first.

    Attributes:
      count: number of strings.
      first: file and location of the first; "" if there is none.
    """

    def __init__(self) -> None:
        """Starts with nothing repaired."""
        self.count, self.first = 0, ""

    def note(self) -> str:
        """Returns a note for the summary of a preparation; "" if nothing was repaired."""
        if not self.count:
            return ""
        return f"{self.count:,} texts, the broken part replaced by U+FFFD (first: {self.first})"

    def apply(self, value: Any, where: str, path: str = "") -> Any:
        """Returns a JSON value with all its strings repaired, including names in objects.

        Args:
          value: JSON value, nested no deeper than `json_reader.MAX_DEPTH`.
          where: the file, and line if it has lines, for `first`.
          path: path to `value` in the document.
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
    """Byte stream of a JSON document, in which escaped lone surrogates are replaced and counted.

    For stream parsers, which silently replace a surrogate by a question mark, or fail.
    """

    def __init__(self, stream: IO[bytes], repairs: Repairs, where: str):
        """Wraps `stream`, which is read on demand; `where` names it in `repairs`."""
        self._stream, self._repairs, self._where = stream, repairs, where
        self._waiting, self._output, self._ended = b"", b"", False

    def readable(self) -> bool:
        """Returns True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a part of `buffer`; returns 0 at the end."""
        while not self._output and not self._ended:
            read = self._stream.read(_CHUNK_BYTES)
            self._ended = not read
            data = self._waiting + read
            cut = len(data) if self._ended else _whole_escapes(data)
            self._output, self._waiting = self._repair(data[:cut]), data[cut:]
        size = min(len(buffer), len(self._output))
        buffer[:size] = self._output[:size]
        self._output = self._output[size:]
        return size

    def _repair(self, data: bytes) -> bytes:
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
    """Returns the length of the prefix of `data` that does not end inside an escape or surrogate pair."""
    cut = data.find(b"\\", max(0, len(data) - _PAIR_BYTES))
    if cut < 0:
        return len(data)
    while cut > 0 and data[cut - 1 : cut] == b"\\":
        cut -= 1
    if re.fullmatch(_FIRST, data[max(0, cut - _PAIR_BYTES // 2) : cut]):  # the first half of a pair that continues
        cut -= _PAIR_BYTES // 2
        while cut > 0 and data[cut - 1 : cut] == b"\\":
            cut -= 1
    return cut


def without_folders(where: str) -> str:
    """Returns a location such as "DIR/captions.csv: line 3" without the folders, which are specific to the machine."""
    file, colon, rest = where.partition(": ")
    return file.rpartition("/")[2] + colon + rest
