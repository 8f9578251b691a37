"""Streaming reader of HowTo100M transcripts, one video at a time.

raw_caption.json, caption.json   {video_id: {"start": [s, ...], "end": [s, ...], "text": ["...", ...]}}
<video_id>.csv                   start,end,text, the same for one video
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import ijson
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import csv_rows
from svilm_data.annotations.published_dataset import field
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.filesystem.unicode_repair import RepairedJson

SOURCES = {"raw": "raw_caption.json", "processed": "caption.json", "csv": "<video id>.csv"}
NOT_TRANSCRIPTS = ("howto100m_v1.csv", "task_ids.csv")  # the other CSV files of the download


class Sentence(NamedTuple):
    """A transcribed sentence from `start` to `end` seconds."""

    start: float
    end: float
    text: str


Narration = tuple[str, str, list[Sentence]]  # video id, location for errors, sentences


def read_narrations(files: OfficialFiles, source: str) -> Iterator[Narration]:
    """Yields the transcripts of all videos.

    Args:
      files: all annotation files.
      source: a key of `SOURCES`; "": the first one that exists.

    Raises:
      PreparationError: none exists, or one with invalid content; names file, video and field.
    """
    for name in [source] if source else SOURCES:
        if name == "csv":
            present: list[OfficialFile] = [f for f in files.find("*.csv") if f.name.lower() not in NOT_TRANSCRIPTS]
            read: Callable[[Iterable[OfficialFile]], Iterator[Narration]] = _from_csv
        else:
            file = files.find_optional(SOURCES[name])
            present, read = [file] if file is not None else [], _from_json
        if present:
            return read(present)
    expected = SOURCES[source] if source else ", ".join(SOURCES.values())
    raise PreparationError(f"--annotations {files.root}: no narrations: expected {expected}")


def _from_json(files: Iterable[OfficialFile]) -> Iterator[Narration]:
    for file in files:
        seen = False
        with file.open() as stream:
            try:
                for video, transcript in ijson.kvitems(
                    RepairedJson(stream, file.repairs, file.where), "", use_float=True
                ):
                    seen = True
                    where = f"{file.where}: video {video!r}"
                    yield video, where, list(_sentences(transcript, where))
            except (ijson.JSONError, UnicodeDecodeError) as error:
                reason = " ".join(str(error).split())
                raise PreparationError(f"{file.where}: expected JSON, {EXPECTED_FORM} ({reason})") from error
        if not seen:
            raise PreparationError(f"{file.where}: no video; expected {EXPECTED_FORM}")


EXPECTED_FORM = '{video id: {"start": [...], "end": [...], "text": [...]}}'


def _sentences(transcript: Any, where: str) -> Iterator[Sentence]:
    starts, ends, texts = (field(transcript, name, list, where) for name in ("start", "end", "text"))
    if not len(starts) == len(ends) == len(texts):
        raise PreparationError(
            f"{where}: {len(starts)} starts, {len(ends)} ends and {len(texts)} texts: expected equal numbers"
        )
    for number, (start, end, text) in enumerate(zip(starts, ends, texts, strict=True)):
        for name, value in (("start", start), ("end", end)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise PreparationError(f"{where}, field {name!r}, item {number}: expected seconds, got {value!r}")
        if not isinstance(text, str):
            raise PreparationError(f"{where}, field 'text', item {number}: expected a string, got {text!r}")
        yield Sentence(float(start), float(end), text)


def _from_csv(files: Iterable[OfficialFile]) -> Iterator[Narration]:
    for file in files:
        yield file.name.removesuffix(".csv"), file.where, list(_csv_sentences(file))


def _csv_sentences(file: OfficialFile) -> Iterator[Sentence]:
    for where, row in csv_rows(file, ("start", "end", "text")):
        yield Sentence(_seconds(row, "start", where), _seconds(row, "end", where), row["text"])


def _seconds(row: Mapping[str, str], name: str, where: str) -> float:
    try:
        value = float(row[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise PreparationError(f"{where}, field {name!r}: expected seconds, got {row[name]!r}")
    return value
