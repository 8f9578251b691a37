"""Official files of each split, with a check that every video is in one split only.

Partial downloads are common: missing files are noted, and only a complete absence is an error.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.published_dataset import VideoAnnotation
from svilm_data.pipeline.errors import PreparationError

MISSING = "not found"


def split_files(
    files: OfficialFiles, patterns: Mapping[str, Sequence[str]], description: str
) -> tuple[dict[str, OfficialFile], dict[str, str]]:
    """Finds the file of each split.

    Args:
      files: all annotation files.
      patterns: split -> possible names of its file.
      description: noun for the files, for errors.

    Returns:
      split -> file, in the order of `patterns`, and a note that names the missing files ({} if there are none).

    Raises:
      PreparationError: no file exists, or several match one name.
    """
    present = {split: file for split, names in patterns.items() if (file := files.find_optional(*names)) is not None}
    if not present:
        expected = ", ".join(names[0] for names in patterns.values())
        raise PreparationError(
            f"--annotations {files.root}: no {description}: expected one or more of {expected}, plain, .gz or "
            "in an archive"
        )
    missing = [names[0] for split, names in patterns.items() if split not in present]
    return present, {MISSING: ", ".join(missing)} if missing else {}


def json_entries(file: OfficialFile, entries: Any = None, within: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yields (name, where, object) of every entry of a JSON object of objects.

    Args:
      file: the annotation file.
      entries: the object, if it is only a part of the file; None: the whole file.
      within: name of that part, for errors.

    Raises:
      PreparationError: not an object of objects.
    """
    rows = file.json() if entries is None else entries
    if not isinstance(rows, dict):
        raise PreparationError(f"{file.where}{within}: expected an object, got {type(rows).__name__}")
    for name, row in rows.items():
        where = f"{file.where}{within}: entry {name!r}"
        yield name, where, _object(row, where)


def check_disjoint(splits: Mapping[str, Collection[VideoAnnotation]]) -> None:
    """Raises PreparationError if a video is in two splits, since training would see test videos."""
    split_of: dict[str, str] = {}
    for split, videos in splits.items():
        for video in videos:
            other = split_of.setdefault(video.record.id, split)
            if other != split:
                raise PreparationError(
                    f"video {video.record.id!r} is in split {other} and in split {split}; expected one"
                )


def _object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise PreparationError(f"{where}: expected an object, got {row!r:.80}")
    return row
