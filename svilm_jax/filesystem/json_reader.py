"""Reader of JSON documents and JSON lines, plain or gzipped, for preparation, scoring and model folders.

The standard library's parser fails in many ways (a separate error for syntax, others for encodings, long numbers and
deep nesting) and silently accepts duplicate names. Here every file that cannot be read as intended raises one error,
whose message names file, position and remedy.
"""

import codecs
import contextlib
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from svilm_jax.errors import UserError
from svilm_jax.filesystem.file_signatures import SIGNATURE_BYTES, describe_placeholder
from svilm_jax.filesystem.unicode_repair import Repairs

MAX_DEPTH = 100  # levels of nesting: usual files have fewer than ten, and code that walks a value may recurse
MAX_BYTES = 1 << 30  # size of an unpacked document, which takes up to ten times as much memory when parsed
MAX_LINE_BYTES = 64 << 20  # size of one line of a file that is read line by line
_GZIP = b"\x1f\x8b"
_UTF_16_32 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_LONG_NUMBER = re.compile(r"\d{300}")
_HALF_ESCAPED = re.compile(r"\\u[dD][89abABcdefCDEF]")  # any half of a pair: pairs are distinguished later
_CONVERT = "save the file as UTF-8, or convert it with iconv -f ENCODING -t UTF-8"


class JsonError(UserError, ValueError):
    """A file that is not valid JSON or text as expected.

    Attributes:
      where: the file, with the line if it has lines.
      reason: the error; the message is both.
    """

    def __init__(self, where: str, reason: str):
        super().__init__(f"{where}: {reason}")
        self.where, self.reason = where, reason

    def __reduce__(self) -> tuple[Any, ...]:
        return JsonError, (self.where, self.reason)


def read_document(path: str | Path) -> Any:
    """Reads the value of a JSON file.

    Gzip compression is detected by the first bytes and not by the name: downloads lose or gain a `.gz`.

    Raises:
      JsonError: damaged, not JSON in UTF-8, a duplicate name in an object, nested too deeply, or too large.
      OSError: it cannot be opened.
    """
    with opened(path) as stream:
        return document(stream, str(path))


def read_lines(path: str | Path) -> Iterator[tuple[str, Any]]:
    """Yields (where, value) of each non-blank line of a JSON lines file, as a stream; raises as `read_document`."""
    with opened(path) as stream:
        yield from json_lines(stream, str(path))


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[IO[bytes]]:
    """Opens the bytes of a file, decompressed if it is gzipped; damage found while reading raises `JsonError`."""
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(Path(path).open("rb"))
        packed = raw.peek(2)[:2] == _GZIP
        try:
            unpacked: Any = gzip.GzipFile(fileobj=raw) if packed else raw
            yield stack.enter_context(unpacked)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise JsonError(str(path), f"damaged gzip file ({error}); download it again") from error


def document(stream: IO[bytes], where: str, repairs: Repairs | None = None) -> Any:
    """Parses a whole JSON document; arguments and errors as for `parse`."""
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise JsonError(
            where, f"has more than {MAX_BYTES >> 20} MiB, unpacked; split it, or write it as JSON lines if it can be"
        )
    return parse(data, where, repairs=repairs)


def lines(stream: IO[bytes], where: str) -> Iterator[tuple[str, str]]:
    """Yields (where, text) of each line of a UTF-8 file, as a stream; line ends are kept, a byte order mark is not.

    Lines end with a line feed only: other Unicode separators, such as U+2028, may occur inside a JSON string.
    """
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        place = f"{where}: line {number}"
        if len(line) > MAX_LINE_BYTES:
            raise JsonError(place, f"longer than {MAX_LINE_BYTES >> 20} MiB; expected one entry per line")
        if number == 1:
            _check_encoding(line, where)
        try:
            yield place, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            found = _other_kind(line) if number == 1 else None
            reason = f"expected text, found {found}" if found else _not_utf_8(line, error.start)
            raise JsonError(where if found else place, reason) from error


def json_lines(stream: IO[bytes], where: str, repairs: Repairs | None = None) -> Iterator[tuple[str, Any]]:
    """Yields (where, value) of each non-blank line, as a stream; arguments and errors as for `parse`."""
    for place, text in lines(stream, where):
        if text.strip():
            yield place, parse(text, place, line=True, repairs=repairs)


def parse(data: bytes | str, where: str, line: bool = False, repairs: Repairs | None = None) -> Any:
    """Parses a JSON text.

    Integers of 300 digits and more become floats, possibly infinite: checks of fields reject them, as they do NaN.

    Args:
      data: bytes in UTF-8, with or without a byte order mark, or text.
      where: file, and line if it is one of many, for errors.
      line: whether `data` is one line, whose location `where` already contains.
      repairs: repairs strings with lone surrogates, and counts them; None: they are unchanged.

    Raises:
      JsonError: not JSON, not UTF-8, a duplicate name in an object (of which Python would keep the last), or nested
        deeper than `MAX_DEPTH`.
    """
    text = data if isinstance(data, str) else _decoded(data, where)
    integer = _integer if _LONG_NUMBER.search(text) else None
    try:
        value = json.loads(text, object_pairs_hook=_unique_names, parse_int=integer)
    except json.JSONDecodeError as error:
        raise _syntax_error(text, where, error, line) from error
    except RecursionError as error:
        raise JsonError(where, f"nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:
        raise JsonError(where, f"expected JSON ({error})") from error
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value, where)
    return value if repairs is None or not _HALF_ESCAPED.search(text) else repairs.apply(value, where)


def _syntax_error(text: str, where: str, error: json.JSONDecodeError, line: bool) -> JsonError:
    found = describe_placeholder(text[:1000].encode("utf-8", "replace"))
    if found is not None and "JSON" not in found and not found.startswith("a text file"):
        return JsonError(where, f"expected JSON, found {found}")
    place = "" if line else f", line {error.lineno}, column {error.colno}"
    several = error.msg == "Extra data" and not line and text.lstrip()[:1] in "{["
    hint = "; JSON lines are expected in a file named .jsonl" if several else ""
    return JsonError(where, f"expected JSON ({error.msg}{place}){hint}" if text.strip() else "is empty; expected JSON")


def _decoded(data: bytes, where: str) -> str:
    _check_encoding(data, where)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if found := _other_kind(data):
            raise JsonError(where, f"expected JSON, found {found}") from error
        start = data.rfind(b"\n", 0, error.start) + 1
        number = data.count(b"\n", 0, error.start) + 1
        raise JsonError(f"{where}: line {number}", _not_utf_8(data[start:], error.start - start)) from error


def _check_encoding(data: bytes, where: str) -> None:
    """Raises `JsonError` for UTF-16 and UTF-32, with or without a byte order mark."""
    if data.startswith(_UTF_16_32) or b"\x00" in data[:2]:
        raise JsonError(where, f"is UTF-16 or UTF-32; expected UTF-8: {_CONVERT}")


def _other_kind(data: bytes) -> str | None:
    """Describes bytes that are not text in any encoding; None if they may be text."""
    start = data[:SIGNATURE_BYTES]
    return describe_placeholder(start) or ("a binary file" if b"\x00" in start else None)


def _not_utf_8(line: bytes, column: int) -> str:
    return f"expected UTF-8, found byte 0x{line[column]:02x} at column {column + 1}: {_CONVERT}"


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 300 else float(digits)


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        duplicate = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {duplicate!r} occurs twice in one object")
    return result


def _check_depth(value: Any, where: str) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise JsonError(where, f"nested deeper than {MAX_DEPTH} levels")
        inner: list[Any] = []
        for item in level:
            members = item.values() if isinstance(item, dict) else item
            inner += [member for member in members if isinstance(member, (dict, list))]
        level = inner
