"""What does an annotation file say, row by row? JSON, JSON lines, CSV and TSV, each row with the place it stands at.

JSON lines, CSV and TSV are read as a stream and may be of any length; a JSON document is read whole.
"""

import codecs
import csv
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import PreparationError
from .fields import CAPTION, VIDEO, first_of, normal

FORMATS = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One entry of an annotation file.

    Attributes:
      where: file and line (or item), for errors.
      fields: normalised names and what stands there, a string in CSV files and any JSON value in others.
    """

    where: str
    fields: Mapping[str, Any]


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of an annotation file, its form told by the ending of its name.

    Raises:
      PreparationError: no such file, another ending, not UTF-8, or no file of its form; names file and line.
    """
    if not path.is_file():
        raise PreparationError(f"--captions {path}: no such file")
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise PreparationError(f"--captions {path}: expected a file ending in {', '.join(FORMATS)}")
    if form == "csv":
        return _csv(path)
    return _json_lines(path) if form == "jsonl" or _is_json_lines(path) else _json(path)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line, its end included, without a byte order mark."""
    with path.open("rb") as file:
        start = file.read(2)
        if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise PreparationError(f"{path}: is UTF-16; expected UTF-8: save it as UTF-8, or convert it with iconv")
        file.seek(0)
        for number, line in enumerate(file, start=1):
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise PreparationError(
                    f"{path}: line {number}: byte 0x{line[error.start]:02x} at column {error.start + 1} is not UTF-8: "
                    "save the file as UTF-8, or convert it with iconv -f ENCODING -t UTF-8"
                ) from error


def _csv(path: Path) -> Iterator[Row]:
    lines = _lines(path)
    first = next(lines, (1, ""))[1]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
    reader = csv.reader(_chain(first, lines), delimiter=delimiter, strict=True)
    try:
        header = [normal(name) for name in next(reader, [])]
        twice = {name for name in header if name and header.count(name) > 1}
        if twice:
            raise PreparationError(f"{path}: line 1: column {sorted(twice)[0]!r} stands twice in the header")
        if not any(header):
            raise PreparationError(f"{path}: line 1: expected a header that names the columns, as video,caption")
        for kind in (VIDEO, CAPTION):
            first_of(kind, dict.fromkeys(header), f"{path}: line 1 (the header)")
        while True:
            number = reader.line_num + 1  # a quoted field may run over several lines: the first is named
            cells = next(reader, None)
            if cells is None:
                return
            if not any(cells):
                continue  # an empty line
            if len(cells) != len(header):
                raise PreparationError(
                    f"{path}: line {number}: {len(cells)} fields, but the header has {len(header)}: a field that holds "
                    f"a {'tab' if delimiter == chr(9) else repr(delimiter)} has to stand in double quotes"
                )
            yield Row(f"{path}: line {number}", dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise PreparationError(f"{path}: line {reader.line_num}: no CSV ({error})") from error


def _chain(first: str, lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    yield first
    for _, line in lines:
        yield line


def _json_lines(path: Path) -> Iterator[Row]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        yield Row(where, _object(_parse(line, where), where))


def _is_json_lines(path: Path) -> bool:
    """Whether a .json file holds an object a line, as many do: two lines that are complete objects."""
    objects = 0
    for _, line in _lines(path):
        if line.strip():
            try:
                objects += isinstance(json.loads(line), dict)
            except ValueError:
                return False
            if objects != 1:
                return objects == 2
    return False


def _json(path: Path) -> Iterator[Row]:
    document = _parse("".join(line for _, line in _lines(path)), str(path))
    yield from _document(document, path)


def _document(document: Any, path: Path) -> Iterator[Row]:
    """Rows of a list of objects, of a mapping from names, or of either below one key."""
    if isinstance(document, list):
        for number, item in enumerate(document, start=1):
            where = f"{path}: item {number}"
            yield Row(where, _object(item, where))
        return
    if not isinstance(document, dict):
        raise PreparationError(f"{path}: expected a list of objects or a mapping of video names to captions")
    inside = _wrapped(document)
    if inside is not None:
        yield from _document(inside, path)
        return
    for name, value in document.items():
        where = f"{path}: video {name!r}"
        members = value if isinstance(value, list) and any(isinstance(v, dict) for v in value) else [value]
        for member in members:
            fields = _object(member, where) if isinstance(member, dict) else {"captions": member}
            yield Row(where, {**fields, "video": name})


def _wrapped(document: dict[str, Any]) -> Any:
    """What a document of the form {"info": ..., "videos": [...]} or {"captions": {...}} wraps; None where nothing."""
    lists = [
        value
        for value in document.values()
        if isinstance(value, list) and value and all(isinstance(v, dict) for v in value) and _names_video(value[0])
    ]
    if len(lists) == 1:
        return lists[0]
    if len(document) == 1:
        [value] = document.values()
        if isinstance(value, dict) and not any(normal(key) in CAPTION.names for key in value):
            return value
    return None


def _names_video(item: Mapping[str, Any]) -> bool:
    return any(normal(key) in VIDEO.names for key in item)


def _object(item: Any, where: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise PreparationError(
            f'{where}: {str(item)[:40]!r}: expected an object such as {{"video": ..., "caption": ...}}'
        )
    fields: dict[str, Any] = {}
    for key, value in item.items():
        name = normal(key)
        if name in fields:
            raise PreparationError(f"{where}: field {name!r} stands twice")
        fields[name] = value
    return fields


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _unique(pairs, where))
    except json.JSONDecodeError as error:
        place = f"{where}: line {error.lineno}, column {error.colno}" if "line" not in where else where
        raise PreparationError(f"{place}: no JSON ({error.msg})") from error
    except RecursionError as error:
        raise PreparationError(f"{where}: no JSON that can be read (nested too deeply)") from error


def _unique(pairs: Iterable[tuple[str, Any]], where: str) -> dict[str, Any]:
    """An object whose names are all different: of two equal ones JSON readers drop the first without a word."""
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            raise PreparationError(f"{where}: {key!r} stands twice in one object; put its captions into one list")
        fields[key] = value
    return fields
