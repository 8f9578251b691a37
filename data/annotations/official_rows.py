"""Rows of official CSV, JSON lines and JSON list files, each with its location in the file."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from svilm_data.annotations.official_files import OfficialFile
from svilm_data.pipeline.errors import PreparationError


def csv_rows(file: OfficialFile, required: Sequence[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yields the rows of a CSV file with a header, as a stream.

    Args:
      file: CSV file in UTF-8; fields separated by commas, quoted if they contain commas, quotes or line ends.
      required: required columns, in lower case; others are optional.

    Yields:
      (where, fields): the location for errors, and the fields by their columns' names in lower case.

    Raises:
      PreparationError: no header, a missing or duplicate column, a row of another length, not CSV, not UTF-8.
    """
    # A quoted field may span several lines, so the line ends that `lines` strips are restored.
    reader = csv.reader((text + "\n" for _, text in file.lines()), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        for name in required:
            if header.count(name) != 1:
                there = ", ".join(repr(cell) for cell in header) or "none"
                raise PreparationError(
                    f"{file.where}: line 1 (the header): expected one column {name!r}; there are {there}"
                )
        while True:
            number = reader.line_num + 1
            cells = next(reader, None)
            if cells is None:
                return
            if not any(cells):
                continue  # an empty line, as at the end of many files
            if len(cells) != len(header):
                raise PreparationError(
                    f"{file.where}: line {number}: expected {len(header)} fields as in the header, got {len(cells)}"
                )
            yield f"{file.where}: line {number}", dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise PreparationError(f"{file.where}: line {reader.line_num}: expected CSV ({error})") from error


def json_lines(file: OfficialFile) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields (where, object) of each line, as a stream; raises PreparationError for lines that are not JSON objects."""
    for where, entry in file.json_lines():
        if not isinstance(entry, dict):
            raise PreparationError(f"{where}: expected a JSON object, got {entry!r:.60}")
        yield where, entry


def entries_of(document: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields (where, object) of each entry of a JSON list; raises PreparationError for anything else."""
    if not isinstance(document, list):
        raise PreparationError(f"{where}: expected a list of objects, got {type(document).__name__}")
    for number, entry in enumerate(document):
        if not isinstance(entry, dict):
            raise PreparationError(f"{where}: entry {number}: expected an object, got {entry!r:.60}")
        yield f"{where}: entry {number}", entry
