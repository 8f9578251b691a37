"""Readers of answer and score files in JSON, JSON lines and NumPy formats, with one-line error messages."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from svilm_jax.errors import UserError
from svilm_jax.filesystem import json_reader
from svilm_jax.filesystem.file_signatures import SIGNATURE_BYTES, describe_placeholder

_NPY = b"\x93NUMPY"


class ScoreError(UserError, ValueError):
    """A file that cannot be scored; the message names the file, the entry, the expected and the actual content."""


def read_json(path: str | Path) -> Any:
    """Reads a JSON file; a list of the parsed lines if the name ends in `.jsonl`.

    Gzip compression is detected by the first bytes and not by the name: downloads lose or gain a `.gz`.

    Raises:
      ScoreError: unreadable, damaged, not JSON, not UTF-8, or a duplicate name in an object.
    """
    path = Path(path)
    try:
        if {".jsonl", ".ndjson"} & set(path.suffixes):
            return [value for _, value in json_reader.read_lines(path)]
        return json_reader.read_document(path)
    except json_reader.JsonError as error:
        raise ScoreError(str(error)) from error
    except OSError as error:
        raise ScoreError(f"{path}: {error.strerror or error}") from error


def read_array(path: str | Path) -> np.ndarray:
    """Reads an .npy file, never one with pickled objects: such a file can run code when it is opened.

    Raises:
      ScoreError: unreadable, not .npy, an array of objects, an .npz archive, or larger than this machine's memory.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.peek(SIGNATURE_BYTES)[:SIGNATURE_BYTES]
            if not start.startswith(_NPY):
                raise ScoreError(f"{path}: expected a NumPy array as numpy.save writes it (.npy), found {_kind(start)}")
            # Not `numpy.load`, which also opens archives and pickles, and advises to unpickle unknown content.
            return np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise ScoreError(f"{path}: {error.strerror or error}") from error
    except (ValueError, EOFError, SyntaxError, TypeError) as error:
        if isinstance(error, ScoreError):
            raise
        objects = "Object arrays" in str(error)
        reason = "contains Python objects, which are never unpickled; save an array of numbers" if objects else error
        raise ScoreError(f"{path}: {reason if objects else f'damaged NumPy array ({reason})'}") from error
    except (MemoryError, OverflowError) as error:
        raise ScoreError(f"{path}: declares more numbers than fit into memory ({error})") from error


def _kind(start: bytes) -> str:
    """Describes a file whose first bytes are not those of an array, for errors."""
    if not start:
        return "an empty file"
    if start.startswith(b"PK"):
        return "an archive of several arrays (.npz) or another ZIP archive"
    return describe_placeholder(start) or "another kind of file"


def table(value: Any, where: str) -> dict[str, Any]:
    """Returns `value` if it is a JSON object.

    Raises:
      ScoreError: anything else; the message starts with `where`.
    """
    if not isinstance(value, dict):
        raise ScoreError(f"{where}: expected an object {{...}}, found {_shown(value)}")
    return value


def rows(value: Any, where: str) -> list[Any]:
    """Returns `value` if it is a JSON list.

    Raises:
      ScoreError: anything else; the message starts with `where`.
    """
    if not isinstance(value, list):
        raise ScoreError(f"{where}: expected a list [...], found {_shown(value)}")
    return value


def field(entry: dict[str, Any], key: str, where: str) -> Any:
    """Returns `entry[key]`.

    Raises:
      ScoreError: no such key; the message names the existing ones.
    """
    if key not in entry:
        raise ScoreError(f"{where}: no {key!r}, only {', '.join(map(repr, entry)) or 'an empty object'}")
    return entry[key]


def number(value: Any, where: str) -> float:
    """Returns a finite number as float; strings of numbers are accepted, as in the official evaluation.

    Raises:
      ScoreError: anything else, including NaN and infinity.
    """
    try:
        result = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if not math.isfinite(result):
        raise ScoreError(f"{where}: expected a finite number, found {_shown(value)}")
    return result


def string(value: Any, where: str) -> str:
    """Returns a string, or an integer converted to one, a common form of ids and counted answers.

    Raises:
      ScoreError: anything else.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ScoreError(f"{where}: expected a string, found {_shown(value)}")


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
