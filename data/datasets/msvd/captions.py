"""English captions of MSVD clips, read from one of three formats of the same corpus.

    captions_msvd.json          {"-4wsuPCjDBc_5_15": ["a squirrel is eating a peanut", ...]}    used in publications
    AllVideoDescriptions.txt    -4wsuPCjDBc_5_15 a squirrel is eating a peanut                  # starts a comment line
    video_corpus.csv            VideoID,Start,End,...,Language,Description                      in all languages

All English sentences of the corpus are kept, including those that its authors marked as unverified: the other two
formats do not identify them.
"""

import math

from svilm_data.annotations.captions.lists import CaptionLists
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import csv_rows
from svilm_data.annotations.published_dataset import field
from svilm_data.datasets.msvd.names import clip_name
from svilm_data.pipeline.errors import PreparationError

JSON, LINES, CORPUS = "captions_msvd.json", "AllVideoDescriptions.txt", "video_corpus.csv"
# File names of the corpus.
FORMS = {
    JSON: (JSON, "captions_msvd.*json"),
    LINES: (LINES,),
    CORPUS: (CORPUS, "*Video*Description*Corpus*.csv"),
}


def read_captions(files: OfficialFiles) -> tuple[str, CaptionLists, list[str], dict[str, str]]:
    """Reads the captions of the first format that exists.

    Returns:
      The format, the captions, the captioned clips in file order, and notes.

    Raises:
      PreparationError: none of the formats exists, or the file is invalid.
    """
    found = {form: file for form, names in FORMS.items() if (file := files.find_optional(*names))}
    if not found:
        raise PreparationError(f"--annotations {files.root}: no captions: expected {', '.join(FORMS)}")
    form, file = next(iter(found.items()))
    captions = CaptionLists()
    captioned: dict[str, None] = {}
    notes = {}
    if form == JSON:
        _read_json(file, captions, captioned)
    elif form == LINES:
        _read_lines(file, captions, captioned)
    elif foreign := _read_corpus(file, captions, captioned):
        notes["other languages"] = f"{foreign:,} descriptions that are not English left out"
    if others := [other.name for other in found.values() if other != file]:
        notes["captions"] = f"read from {file.name}; not read: {', '.join(others)}"
    return form, captions, list(captioned), notes


def _read_json(file: OfficialFile, captions: CaptionLists, captioned: dict[str, None]) -> None:
    document = file.json()
    if not isinstance(document, dict):
        raise PreparationError(f"{file.where}: expected an object of clips, got {type(document).__name__}")
    for name in document:
        where = f"{file.where}: clip {name!r}"
        clip = clip_name(name, where)
        captioned[clip] = None
        for number, text in enumerate(field(document, name, list, file.where)):
            if not isinstance(text, str):
                raise PreparationError(f"{where}, caption {number}: expected str, got {text!r}")
            captions.add(clip, text)


def _read_lines(file: OfficialFile, captions: CaptionLists, captioned: dict[str, None]) -> None:
    for where, line in file.lines():
        if line.startswith("#") or not line.strip():
            continue
        name, _, text = line.strip().partition(" ")
        clip = clip_name(name, where)
        captioned[clip] = None
        captions.add(clip, text)


def _read_corpus(file: OfficialFile, captions: CaptionLists, captioned: dict[str, None]) -> int:
    foreign = 0
    for where, row in csv_rows(file, ("videoid", "start", "end", "language", "description")):
        if row["language"].strip().lower() != "english":
            foreign += 1
            continue
        start, end = (_second(row[name], f"{where}, field {name!r}") for name in ("start", "end"))
        clip = clip_name(f"{row['videoid'].strip()}_{start}_{end}", where)
        captioned[clip] = None
        captions.add(clip, row["description"])
    return foreign


def _second(text: str, where: str) -> int:
    """Parses an integer number of seconds, as in names of clips."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (seconds >= 0 and seconds.is_integer()):
        raise PreparationError(f"{where}: expected whole seconds, got {text!r}")
    return int(seconds)
