"""Rows of annotation files in JSON, JSON lines, CSV and TSV, each with its location in the file.

JSON lines, CSV and TSV are read as a stream and may be of any length; a JSON document is read whole.
"""

import contextlib
import csv
import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from svilm_data.datasets.captioned_videos.fields import CAPTION, VIDEO, normalize_name, required_field
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.filesystem import json_reader
from svilm_jax.filesystem.file_signatures import describe_placeholder
from svilm_jax.filesystem.unicode_repair import Repairs

FORMATS = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv"}


@dataclasses.dataclass(frozen=True)
class AnnotationRow:
    """One entry of an annotation file.

    Attributes:
      where: file and line (or item), for errors.
      fields: normalized names and their values, strings in CSV files and any JSON value in others.
    """

    where: str
    fields: Mapping[str, Any]


def read_rows(path: Path, repairs: Repairs | None = None) -> Iterator[AnnotationRow]:
    """Yields the rows of an annotation file, in the format of its file ending; gzipped files are supported.

    Args:
      path: annotation file.
      repairs: counts repaired JSON strings that were not valid Unicode.

    Raises:
      PreparationError: no such file, another ending, not UTF-8, or invalid in its format; names file and line.
    """
    if not path.is_file():
        raise PreparationError(f"--captions {path}: no such file")
    form = FORMATS.get(Path(path.name.removesuffix(".gz")).suffix.lower())
    if form is None:
        raise PreparationError(f"--captions {path}: expected a file ending in {', '.join(FORMATS)}")
    repairs = Repairs() if repairs is None else repairs
    if form == "csv":
        return _csv(path)
    return _json_lines(path, repairs) if form == "jsonl" or _is_json_lines(path) else _json(path, repairs)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Opens the bytes of the file; errors in them or in their JSON become a `PreparationError`."""
    try:
        with json_reader.opened(path) as stream:
            yield stream
    except json_reader.JsonError as error:
        raise PreparationError(str(error)) from error


def _csv(path: Path) -> Iterator[AnnotationRow]:
    with _opened(path) as stream:
        lines = (text for _, text in json_reader.lines(stream, str(path)))
        first = next(lines, "")
        placeholder = describe_placeholder(first.encode())
        if placeholder is not None and not placeholder.startswith("a text file"):
            raise PreparationError(f"{path}: expected CSV, found {placeholder}")
        tabs = path.name.lower().removesuffix(".gz").endswith(".tsv")
        delimiter = "\t" if tabs else max(",;\t", key=first.count)
        reader = csv.reader(itertools.chain([first], lines), delimiter=delimiter, strict=True)
        try:
            yield from _csv_rows(reader, path, delimiter)
        except csv.Error as error:
            raise PreparationError(f"{path}: line {reader.line_num}: expected CSV ({_csv_reason(error)})") from error


def _csv_reason(error: csv.Error) -> str:
    reason = str(error)
    if "field limit" in reason:
        return f"a field of more than {csv.field_size_limit():,} characters: is a double quote not closed?"
    if "new-line character" in reason:
        return "a carriage return inside a line: save the file with lines that end in a line feed"
    return reason


def _csv_rows(reader: Any, path: Path, delimiter: str) -> Iterator[AnnotationRow]:
    header = [normalize_name(name) for name in next(reader, [])]
    duplicates = {name for name in header if name and header.count(name) > 1}
    if duplicates:
        raise PreparationError(f"{path}: line 1: column {min(duplicates)!r} occurs twice in the header")
    if not any(header):
        raise PreparationError(f"{path}: line 1: expected a header with column names, such as video,caption")
    for kind in (VIDEO, CAPTION):
        required_field(kind, dict.fromkeys(header), f"{path}: line 1 (the header)")
    while True:
        number = reader.line_num + 1  # first line of the row, since a quoted field may span several
        cells = next(reader, None)
        if cells is None:
            return
        if not any(cells):
            continue  # an empty line
        if len(cells) != len(header):
            raise PreparationError(
                f"{path}: line {number}: {len(cells)} fields, but the header has {len(header)}: a field that contains "
                f"a {'tab' if delimiter == chr(9) else repr(delimiter)} must be in double quotes"
            )
        yield AnnotationRow(f"{path}: line {number}", dict(zip(header, cells, strict=True)))


def _json_lines(path: Path, repairs: Repairs) -> Iterator[AnnotationRow]:
    with _opened(path) as stream:
        for where, value in json_reader.json_lines(stream, str(path), repairs):
            yield AnnotationRow(where, _object(value, where))


def _is_json_lines(path: Path) -> bool:
    """Returns whether a .json file has one object per line: its first two lines are complete objects."""
    objects = 0
    with _opened(path) as stream:
        try:
            for _, value in json_reader.json_lines(stream, str(path)):
                objects += isinstance(value, dict)
                if objects != 1:
                    return objects == 2
        except json_reader.JsonError:
            pass
    return False


def _json(path: Path, repairs: Repairs) -> Iterator[AnnotationRow]:
    with _opened(path) as stream:
        document = json_reader.document(stream, str(path), repairs)
    yield from _document(document, path)


def _document(document: Any, path: Path) -> Iterator[AnnotationRow]:
    """Yields the rows of a list of objects, a mapping from names, either of them below one key, or a single row."""
    if isinstance(document, list):
        for number, item in enumerate(document, start=1):
            where = f"{path}: item {number}"
            yield AnnotationRow(where, _object(item, where))
        return
    if not isinstance(document, dict):
        raise PreparationError(f"{path}: expected a list of objects or a mapping of video names to captions")
    content = _wrapped(document)
    if content is not None:
        yield from _document(content, path)
        return
    if _is_row(document):
        yield AnnotationRow(f"{path}: single object", _object(document, str(path)))
        return
    for name, value in document.items():
        where = f"{path}: video {name!r}"
        members = value if isinstance(value, list) and any(isinstance(v, dict) for v in value) else [value]
        for member in members:
            fields = _object(member, where) if isinstance(member, dict) else {"captions": member}
            yield AnnotationRow(where, {**fields, "video": name})


def _wrapped(document: dict[str, Any]) -> Any:
    """Returns the content of a document like {"info": ..., "videos": [...]} or {"captions": {...}}; None for others."""
    lists = [
        value
        for value in document.values()
        if isinstance(value, list) and value and all(isinstance(v, dict) for v in value) and _names_video(value[0])
    ]
    if len(lists) == 1:
        return lists[0]
    if len(document) == 1:
        [value] = document.values()
        if isinstance(value, dict) and not any(normalize_name(key) in CAPTION.names for key in value):
            return value
    return None


def _is_row(document: Mapping[str, Any]) -> bool:
    """Returns whether an object is a single row, with a video and a caption, not a mapping from video names."""
    names = {normalize_name(key): value for key, value in document.items()}
    video = next((name for name in VIDEO.names if name in names), None)
    return video is not None and isinstance(names[video], (str, int)) and any(name in names for name in CAPTION.names)


def _names_video(item: Mapping[str, Any]) -> bool:
    return any(normalize_name(key) in VIDEO.names for key in item)


def _object(item: Any, where: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise PreparationError(
            f'{where}: {str(item)[:40]!r}: expected an object such as {{"video": ..., "caption": ...}}'
        )
    fields: dict[str, Any] = {}
    for key, value in item.items():
        name = normalize_name(key)
        if name in fields:
            raise PreparationError(f"{where}: field {name!r} occurs twice")
        fields[name] = value
    return fields
