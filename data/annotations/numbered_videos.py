"""Video numbers of datasets that name videos by a word and a number (MSR-VTT's `video7020`, MSVD's `vid1429`).

Files of the same dataset write it as 7020, "7020", "video7020" or "video7020.mp4"; all of these are the same video.
"""

from pathlib import PurePosixPath
from typing import Any

from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.video_folder import without_ending


def video_number(value: Any, word: str, last: int, where: str, first: int = 0) -> int:
    """Returns the number of a video.

    Args:
      value: name or number as written in a file.
      word: prefix of the number, in lower case; may be missing.
      last: highest number of the dataset.
      where: file, line and field, for the error.
      first: lowest number of the dataset.

    Raises:
      PreparationError: not a number from `first` to `last`, with or without that prefix.
    """
    text = str(value).strip().lower().removeprefix(word)
    if not text.isdigit():
        text = without_ending(PurePosixPath(text).name).removeprefix(word)
    proper = text.isascii() and text.isdigit() and (text == "0" or not text.startswith("0"))
    if isinstance(value, bool) or not proper or not first <= int(text) <= last:
        raise PreparationError(
            f"{where}: expected a video from {word}{first} to {word}{last}, or its number, got {value!r}"
        )
    return int(text)
