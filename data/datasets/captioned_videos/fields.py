"""Fields of an annotation file (video, caption, split, times): their accepted names, and parsing of their values."""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any

from svilm_data.annotations.caption_text import CaptionTexts, is_missing, listed_numbers
from svilm_data.pipeline.errors import PreparationError


@dataclasses.dataclass(frozen=True)
class Field:
    """A field and its accepted names, best first: if a row has several of them, the first counts."""

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


def normal(name: str) -> str:
    """Normalizes a field name: lower case, stripped, with _ for blanks and hyphens inside."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def first_of(field: Field, row: Mapping[str, Any], where: str) -> str:
    """Returns the name under which a row has the field.

    Raises:
      PreparationError: it has none.
    """
    name = present(field, row)
    if name is None:
        near = [match for key in row for match in difflib.get_close_matches(key, field.names, n=1)]
        raise PreparationError(
            f"{where}: no field for the {field.title}: expected one of {', '.join(field.names)}; "
            f"there are {', '.join(repr(key) for key in row) or 'none'}"
            + (f"; did you mean {near[0]!r}?" if near else "")
        )
    return name


def present(field: Field, row: Mapping[str, Any]) -> str | None:
    """Like `first_of`, None if the row has none."""
    return next((name for name in field.names if name in row), None)


def video_name(row: Mapping[str, Any], where: str) -> str:
    """Returns the name of the video of a row."""
    key = first_of(VIDEO, row, where)
    value = row[key]
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
        raise PreparationError(f"{where}, field {key!r}: {_shown(value)}: expected the name of a video file")
    return str(value).strip()


def split_name(row: Mapping[str, Any], where: str) -> str:
    """Returns train, validation or test; "" if the row does not say.

    Raises:
      PreparationError: another word.
    """
    key = present(SPLIT, row)
    value = "" if key is None or row[key] is None else row[key]
    if value == "":
        return ""
    split = SPLITS.get(normal(value)) if isinstance(value, str) else None
    if split is None:
        raise PreparationError(f"{where}, field {key!r}: {_shown(value)}: expected train, validation or test")
    return split


def captions(row: Mapping[str, Any], where: str, texts: CaptionTexts | None = None) -> list[tuple[str, float, float]]:
    """Returns (text, start, end) of the captions of a row; start and end are -1 if a caption has no times.

    Args:
      texts: cleans the captions, and counts those that it omits.

    Raises:
      PreparationError: no caption field, a value of another type, invalid times.
    """
    texts = CaptionTexts() if texts is None else texts
    key = first_of(CAPTION, row, where)
    where_text = f"{where}, field {key!r}"
    value = row[key]
    if isinstance(value, str):
        several = texts.members(value, where_text)
        value = several if len(several) > 1 else several[0]
    members = value if isinstance(value, list) else [value]
    times: list[tuple[float, float]]
    stamps = present(TIMES, row)
    pairs = row[stamps] if stamps is not None else None
    if isinstance(pairs, str):
        pairs = listed_numbers(pairs)
    if stamps is None or is_missing(pairs):
        times = [_start_end(row, where)] * len(members)
    elif isinstance(value, list):
        if not isinstance(pairs, list) or len(pairs) != len(members):
            raise PreparationError(f"{where}, field {stamps!r}: expected {len(members)} [start, end], one a caption")
        times = [_pair(pair, f"{where}, field {stamps!r}, number {i}") for i, pair in enumerate(pairs, start=1)]
    else:
        times = [_pair(pairs, f"{where}, field {stamps!r}")]
    found = []
    for number, (member, (start, end)) in enumerate(zip(members, times, strict=True), start=1):
        place = where_text if len(members) == 1 else f"{where_text}, caption {number}"
        if isinstance(member, dict):
            inner = {normal(name): text for name, text in member.items()}
            found += captions(inner, place, texts)
        elif member is None or isinstance(member, str):
            text = texts.clean(member or "", place)
            found += [(text, start, end)] if text is not None else []
        else:
            raise PreparationError(f"{place}: {_shown(member)}: expected a sentence")
    return found


def _start_end(row: Mapping[str, Any], where: str) -> tuple[float, float]:
    start, end = present(START, row), present(END, row)
    values = [None if key is None or is_missing(row[key]) else row[key] for key in (start, end)]
    if values == [None, None]:
        return -1.0, -1.0
    if None in values:
        missing = "start" if values[0] is None else "end"
        raise PreparationError(f"{where}, field {missing!r}: missing; expected both start and end, or neither")
    return _span(values[0], values[1], f"{where}, fields {start!r} and {end!r}")


def _pair(pair: Any, where: str) -> tuple[float, float]:
    if not isinstance(pair, list) or len(pair) != 2:
        raise PreparationError(f"{where}: {_shown(pair)}: expected [start, end] in seconds")
    return _span(pair[0], pair[1], where)


def _span(start: Any, end: Any, where: str) -> tuple[float, float]:
    try:
        if isinstance(start, bool) or isinstance(end, bool):
            raise ValueError
        first, last = float(start), float(end)
    except (TypeError, ValueError):
        first = last = math.nan
    if not (math.isfinite(last) and 0 <= first <= last):
        raise PreparationError(f"{where}: {_shown(start)} to {_shown(end)}: expected seconds with 0 <= start <= end")
    return first, last


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
