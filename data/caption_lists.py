"""Captions per video, collected in file order, with normalized whitespace.

Whitespace carries no information in a caption, but the official files are full of stray blanks (1,266 sentences of
MSR-VTT begin or end with one, and more contain two in a row), which split noun phrases and make equal sentences look
different.
"""

from collections.abc import Iterable

from svilm_jax.input.schema import Caption

from .caption_text import MAX_CHARACTERS, visible
from .official import Wanted


class CaptionLists:
    """The captions of many videos while a file is read.

    Attributes:
      rows: how many were added, empty ones included: the number that papers state.
      empty: of them without a word, which are left out.
      too_long: of them with more characters than a caption may have, which are left out, too.
      tidied: of them whose white space was changed.
    """

    def __init__(self) -> None:
        """Without any caption."""
        self.rows = self.empty = self.too_long = self.tidied = 0
        self._texts: dict[str, list[str]] = {}
        self._rows_of: dict[str, int] = {}

    def add(self, video: str, text: str) -> None:
        """One more sentence about a video."""
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
        """The sentences of a video by their numbers; [] for one without."""
        return self._texts.get(video, [])

    def captions(self, video: str) -> tuple[Caption, ...]:
        """As `texts`, for a record."""
        return tuple(Caption(text) for text in self.texts(video))

    def count(self, videos: Iterable[str]) -> int:
        """Rows of these videos, empty ones included."""
        return sum(self._rows_of.get(video, 0) for video in videos)

    def notes(self, videos: Iterable[str]) -> dict[str, str]:
        """What was odd, for `Annotated.notes`: empty captions, stray white space, `videos` without any caption."""
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
    """The first of some names, for notes and errors."""
    names = list(names)
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")


def together(wanted: Iterable[Wanted]) -> list[Wanted]:
    """The same videos, those of one group next to each other, where the first of them stood."""
    wanted = list(wanted)
    place: dict[str, int] = {}
    for item in wanted:
        place.setdefault(item.record.group or item.record.id, len(place))
    return sorted(wanted, key=lambda item: place[item.record.group or item.record.id])
