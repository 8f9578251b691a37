"""Readers of logs in JSON lines, of which a killed process may have left an incomplete line."""

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 16


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads the objects of a log; incomplete lines are dropped, and a missing file has none."""
    lines = []
    for text in path.read_text().splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def read_lines_backward(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the objects of a log from the last to the first, without reading more than is asked for.

    Lines that are incomplete, or anything but an object, are skipped, and a missing file has none.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        position, rest = file.seek(0, io.SEEK_END), b""
        while position > 0:
            start = max(0, position - _CHUNK_BYTES)
            file.seek(start)
            first, *lines = (file.read(position - start) + rest).split(b"\n")
            position, rest = start, first
            yield from _objects(reversed(lines))
        yield from _objects([rest])


def _objects(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found
