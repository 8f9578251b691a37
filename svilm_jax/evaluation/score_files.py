"""What does a file of answers or scores hold? JSON, JSON lines or NumPy, and what is wrong with it in one line."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from svilm_jax.errors import UserError

_GZIP = b"\x1f\x8b"


class ScoreError(UserError, ValueError):
    """A file that cannot be scored; the message names the file, the entry, what was expected and what was found."""


def read_json(path: str | Path) -> Any:
    """The content of a JSON file; a list of the lines' contents where the name says `.jsonl`.

    Whether it is gzipped is read from the first bytes and not from the name: downloads lose or gain a `.gz`.

    Raises:
      ScoreError: unreadable, not JSON, not UTF-8.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == _GZIP else raw).decode("utf-8-sig")
        if ".jsonl" in path.suffixes:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        return json.loads(text)
    except (OSError, EOFError) as error:
        raise ScoreError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    except UnicodeDecodeError as error:
        raise ScoreError(f"{path}: not a text file: {error}") from error
    except json.JSONDecodeError as error:
        hint = "; is it JSON lines? then name it .jsonl" if error.msg == "Extra data" else ""
        raise ScoreError(f"{path}: not JSON: {error}{hint}") from error


def read_array(path: str | Path) -> np.ndarray:
    """The array of an .npy file, never one with pickled objects: such a file can run code when it is opened.

    Raises:
      ScoreError: unreadable, not .npy, pickled, an .npz archive.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ScoreError(f"{path}: not a NumPy .npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ScoreError(f"{path}: expected one array (.npy), this is an archive of several (.npz)")
    return array


def table(value: Any, where: str) -> dict[str, Any]:
    """`value` if it is a JSON object.

    Raises:
      ScoreError: anything else; the message starts with `where`.
    """
    if not isinstance(value, dict):
        raise ScoreError(f"{where}: expected an object {{...}}, found {_shown(value)}")
    return value


def rows(value: Any, where: str) -> list[Any]:
    """`value` if it is a JSON list.

    Raises:
      ScoreError: anything else; the message starts with `where`.
    """
    if not isinstance(value, list):
        raise ScoreError(f"{where}: expected a list [...], found {_shown(value)}")
    return value


def field(entry: dict[str, Any], key: str, where: str) -> Any:
    """`entry[key]`.

    Raises:
      ScoreError: no such key; the message names those that there are.
    """
    if key not in entry:
        raise ScoreError(f"{where}: no {key!r}, only {', '.join(map(repr, entry)) or 'an empty object'}")
    return entry[key]


def number(value: Any, where: str) -> float:
    """A finite number as float; one written as a string counts, as in the official evaluation.

    Raises:
      ScoreError: anything else, NaN and infinity included.
    """
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise ScoreError(f"{where}: expected a finite number, found {_shown(value)}")
    return found


def string(value: Any, where: str) -> str:
    """A string, or an integer written out, which is how ids and counted answers also come.

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
