"""Captions per video, collected in file order, with normalized whitespace.

Whitespace carries no information in a caption, but the official files are full of stray blanks (1,266 sentences of
MSR-VTT begin or end with one, and more contain two in a row), which split noun phrases and make equal sentences look
different.
"""

from collections.abc import Iterable

from svilm_data.annotations.caption_text import MAX_CHARACTERS, visible
from svilm_data.annotations.published_dataset import VideoAnnotation

from svilm_jax.input.schema import Caption


class CaptionLists:
    """Captions of many videos, collected while a file is read.

    Attributes:
      rows: number of added captions, including empty ones: the number stated by papers.
      empty: number of captions without a word, which are left out.
      too_long: number of captions with too many characters, which are left out, too.
      tidied: number of captions whose whitespace was changed.
    """

    def __init__(self) -> None:
        """Starts without captions."""
        self.rows = self.empty = self.too_long = self.tidied = 0
        self._texts: dict[str, list[str]] = {}
        self._rows_of: dict[str, int] = {}

    def add(self, video: str, text: str) -> None:
        """Adds a sentence about a video."""
        self.rows += 1
        self._rows_of[video] = self._rows_of.get(video, 0) + 1
        tidy = " ".join(text.split())
        if not visible(tidy):
            self.empty += 1
            return
        if len(tidy) > MAX_CHARACTERS:
            self.too_long += 1
            return
        self.tidied += tidy != text
        self._texts.setdefault(video, []).append(tidy)

    def texts(self, video: str) -> list[str]:
        """Returns the sentences of a video by their numbers; [] if it has none."""
        return self._texts.get(video, [])

    def captions(self, video: str) -> tuple[Caption, ...]:
        """Like `texts`, for a record."""
        return tuple(Caption(text) for text in self.texts(video))

    def count(self, videos: Iterable[str]) -> int:
        """Returns the number of rows of these videos, including empty ones."""
        return sum(self._rows_of.get(video, 0) for video in videos)

    def notes(self, videos: Iterable[str]) -> dict[str, str]:
        """Returns notes for `Annotated.notes`: empty captions, stray whitespace, `videos` without any caption."""
        bare = [video for video in videos if not self.texts(video)]
        notes = {}
        if self.empty:
            notes["empty captions"] = f"{self.empty:,} left out"
        if self.too_long:
            notes[f"captions of more than {MAX_CHARACTERS:,} characters"] = f"{self.too_long:,} left out"
        if self.tidied:
            notes["white space"] = f"stray blanks taken out of {self.tidied:,} captions"
        if bare:
            notes["videos without a caption"] = f"{len(bare):,} ({listed(bare)}), kept without one"
        return notes


def listed(names: Iterable[str], shown: int = 3) -> str:
    """Formats the first of some names, for notes and errors."""
    names = list(names)
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")


def together(wanted: Iterable[VideoAnnotation]) -> list[VideoAnnotation]:
    """Reorders videos so that those of one group are adjacent, at the position of the first."""
    wanted = list(wanted)
    place: dict[str, int] = {}
    for item in wanted:
        place.setdefault(item.record.group or item.record.id, len(place))
    return sorted(wanted, key=lambda item: place[item.record.group or item.record.id])
