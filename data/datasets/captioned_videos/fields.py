"""Fields of an annotation file (video, caption, split, times): their accepted names, and parsing of their values."""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any

from svilm_data.annotations.captions.text import CaptionCleaner, is_missing, parse_number_list
from svilm_data.pipeline.errors import PreparationError


@dataclasses.dataclass(frozen=True)
class Field:
    """A field and its accepted names, best first; of several names in a row, the first is read."""

    title: str
    names: tuple[str, ...]


VIDEO = Field(
    "video",
    ("video", "video_path", "video_file", "video_name", "path", "file", "file_path", "filepath", "file_name")
    + ("filename", "clip", "video_id", "videoid", "vid", "clip_id", "clip_name", "id", "name"),
)
CAPTION = Field("caption", ("caption", "captions", "text", "texts", "sentence", "sentences", "description"))
SPLIT = Field("split", ("split", "subset"))
START = Field("start", ("start", "start_time", "begin"))
END = Field("end", ("end", "end_time"))
TIMES = Field("timestamps", ("timestamps", "timestamp", "segment"))

SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def normalize_name(name: str) -> str:
    """Normalizes a field name: lower case, stripped, with _ for blanks and hyphens inside."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def required_field(field: Field, row: Mapping[str, Any], where: str) -> str:
    """Returns the name under which a row has the field.

    Raises:
      PreparationError: it has none.
    """
    name = find_field(field, row)
    if name is None:
        near = [match for key in row for match in difflib.get_close_matches(key, field.names, n=1)]
        raise PreparationError(
            f"{where}: no field for the {field.title}: expected one of {', '.join(field.names)}; "
            f"got {', '.join(repr(key) for key in row) or 'none'}" + (f"; did you mean {near[0]!r}?" if near else "")
        )
    return name


def find_field(field: Field, row: Mapping[str, Any]) -> str | None:
    """Returns the name under which a row has the field; None if it has none."""
    return next((name for name in field.names if name in row), None)


def video_name(row: Mapping[str, Any], where: str) -> str:
    """Returns the name of the video of a row."""
    key = required_field(VIDEO, row, where)
    value = row[key]
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
        raise PreparationError(f"{where}, field {key!r}: {_short(value)}: expected the name of a video file")
    return str(value).strip()


def split_name(row: Mapping[str, Any], where: str) -> str:
    """Returns train, validation or test; "" if the row does not say.

    Raises:
      PreparationError: another word.
    """
    key = find_field(SPLIT, row)
    value = "" if key is None or row[key] is None else row[key]
    if value == "":
        return ""
    split = SPLITS.get(normalize_name(value)) if isinstance(value, str) else None
    if split is None:
        raise PreparationError(f"{where}, field {key!r}: {_short(value)}: expected train, validation or test")
    return split


def captions(
    row: Mapping[str, Any], where: str, cleaner: CaptionCleaner | None = None
) -> list[tuple[str, float, float]]:
    """Returns (text, start, end) of the captions of a row; start and end are -1 if a caption has no times.

    Args:
      row: normalized field names and values.
      where: location of the row, for errors.
      cleaner: cleans the captions, and counts those that it omits.

    Raises:
      PreparationError: no caption field, a value of another type, invalid times.
    """
    cleaner = CaptionCleaner() if cleaner is None else cleaner
    key = required_field(CAPTION, row, where)
    where_text = f"{where}, field {key!r}"
    value = row[key]
    if isinstance(value, str):
        several = cleaner.split(value, where_text)
        value = several if len(several) > 1 else several[0]
    members = value if isinstance(value, list) else [value]
    times: list[tuple[float, float]]
    stamps = find_field(TIMES, row)
    pairs = row[stamps] if stamps is not None else None
    if isinstance(pairs, str):
        pairs = parse_number_list(pairs)
    if stamps is None or is_missing(pairs):
        times = [_start_end(row, where)] * len(members)
    elif isinstance(value, list):
        if not isinstance(pairs, list) or len(pairs) != len(members):
            raise PreparationError(f"{where}, field {stamps!r}: expected {len(members)} [start, end], one per caption")
        times = [_pair(pair, f"{where}, field {stamps!r}, number {i}") for i, pair in enumerate(pairs, start=1)]
    else:
        times = [_pair(pairs, f"{where}, field {stamps!r}")]
    result = []
    for number, (member, (start, end)) in enumerate(zip(members, times, strict=True), start=1):
        place = where_text if len(members) == 1 else f"{where_text}, caption {number}"
        if isinstance(member, dict):
            inner = {normalize_name(name): text for name, text in member.items()}
            result += captions(inner, place, cleaner)
        elif member is None or isinstance(member, str):
            text = cleaner.clean(member or "", place)
            result += [(text, start, end)] if text is not None else []
        else:
            raise PreparationError(f"{place}: {_short(member)}: expected a sentence")
    return result


def _start_end(row: Mapping[str, Any], where: str) -> tuple[float, float]:
    start, end = find_field(START, row), find_field(END, row)
    values = [None if key is None or is_missing(row[key]) else row[key] for key in (start, end)]
    if values == [None, None]:
        return -1.0, -1.0
    if None in values:
        missing = "start" if values[0] is None else "end"
        raise PreparationError(f"{where}, field {missing!r}: missing; expected both start and end, or neither")
    return _span(values[0], values[1], f"{where}, fields {start!r} and {end!r}")


def _pair(pair: Any, where: str) -> tuple[float, float]:
    if not isinstance(pair, list) or len(pair) != 2:
        raise PreparationError(f"{where}: {_short(pair)}: expected [start, end] in seconds")
    return _span(pair[0], pair[1], where)


def _span(start: Any, end: Any, where: str) -> tuple[float, float]:
    try:
        if isinstance(start, bool) or isinstance(end, bool):
            raise ValueError
        first, last = float(start), float(end)
    except (TypeError, ValueError):
        first = last = math.nan
    if not (math.isfinite(last) and 0 <= first <= last):
        raise PreparationError(f"{where}: {_short(start)} to {_short(end)}: expected seconds with 0 <= start <= end")
    return first, last


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
