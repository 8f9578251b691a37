"""Clip names of MSVD: `-4wsuPCjDBc_5_15` (source video, start, end), or `vid1` in the renumbered form.

youtube_mapping.txt maps one to the other, one per line: "-4wsuPCjDBc_5_15 vid1". Video files use either name.
"""

import dataclasses
import re
from typing import Any

from svilm_data.annotations.numbered_videos import video_number
from svilm_data.annotations.official_files import OfficialFiles
from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.video_folder import without_ending

WORD, FIRST, LAST = "vid", 1, 1970
MAPPING = "youtube_mapping.txt"
CLIP = re.compile(r"(.+)_(\d+)_(\d+)")


@dataclasses.dataclass(frozen=True)
class ClipNumbers:
    """Maps clip name -> `vidN` and vice versa; both are empty if there is no mapping file."""

    number: dict[str, str]
    clip: dict[str, str]


def read_mapping(files: OfficialFiles) -> ClipNumbers:
    """Reads the mapping, if its file exists.

    Raises:
      PreparationError: a line that is not a pair, or a duplicate name.
    """
    mapping = ClipNumbers({}, {})
    file = files.find_optional(MAPPING, "youtube_mapping*.txt")
    for where, line in file.lines() if file is not None else ():
        if not line.strip():
            continue
        pair = line.split()
        if len(pair) != 2:
            raise PreparationError(f"{where}: expected a clip name and vidN separated by a space, got {line!r}")
        clip, number = clip_name(pair[0], where), record_number(pair[1], where)
        for name, others in ((clip, mapping.number), (number, mapping.clip)):
            if name in others:
                raise PreparationError(f"{where}: {name} occurs before; expected each name once")
        mapping.number[clip], mapping.clip[number] = number, clip
    return mapping


def record_number(value: Any, where: str) -> str:
    """Returns `vid1429` for 1429, "1429", "vid1429" and "vid1429.avi"; raises PreparationError for anything else."""
    return f"{WORD}{video_number(value, WORD, LAST, where, first=FIRST)}"


def clip_name(value: str, where: str) -> str:
    """Returns a clip's name without file ending; raises PreparationError if it is not FILM_START_END."""
    name = without_ending(value.strip())
    if not CLIP.fullmatch(name):
        raise PreparationError(f"{where}: expected a clip as FILM_START_END (-4wsuPCjDBc_5_15), got {value!r}")
    return name


def source_video(clip: str) -> str:
    """Returns the source video of a clip: the record group, since clips of one source look alike."""
    match = CLIP.fullmatch(clip)
    return match[1] if match else ""
