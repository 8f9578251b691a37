"""Captions per video, collected in file order, with normalized whitespace.

Whitespace carries no information in a caption, but the official files are full of stray blanks (1,266 sentences of
MSR-VTT begin or end with one, and more contain two in a row), which split noun phrases and make equal sentences look
different.
"""

from collections.abc import Iterable

from svilm_data.annotations.captions.text import MAX_CHARACTERS, has_visible_text
from svilm_data.annotations.issues import format_names

from svilm_jax.input.schema import Caption


class CaptionLists:
    """Captions of many videos, collected while a file is read.

    Attributes:
      rows: number of added captions, including empty ones, as counted in publications.
      empty: number of captions without a word, which are left out.
      too_long: number of captions with too many characters, which are left out as well.
      normalized: number of captions whose whitespace was changed.
    """

    def __init__(self) -> None:
        """Starts without captions."""
        self.rows = self.empty = self.too_long = self.normalized = 0
        self._texts: dict[str, list[str]] = {}
        self._rows_of: dict[str, int] = {}

    def add(self, video: str, text: str) -> None:
        """Adds a sentence about a video."""
        self.rows += 1
        self._rows_of[video] = self._rows_of.get(video, 0) + 1
        normalized = " ".join(text.split())
        if not has_visible_text(normalized):
            self.empty += 1
            return
        if len(normalized) > MAX_CHARACTERS:
            self.too_long += 1
            return
        self.normalized += normalized != text
        self._texts.setdefault(video, []).append(normalized)

    def texts(self, video: str) -> list[str]:
        """Returns the sentences of a video by their numbers; [] if it has none."""
        return self._texts.get(video, [])

    def captions(self, video: str) -> tuple[Caption, ...]:
        """Returns the sentences of a video as the captions of its record."""
        return tuple(Caption(text) for text in self.texts(video))

    def count(self, videos: Iterable[str]) -> int:
        """Returns the number of rows of these videos, including empty ones."""
        return sum(self._rows_of.get(video, 0) for video in videos)

    def notes(self, videos: Iterable[str]) -> dict[str, str]:
        """Returns notes for `Annotations.notes`: empty captions, stray whitespace, `videos` without any caption."""
        without_captions = [video for video in videos if not self.texts(video)]
        notes = {}
        if self.empty:
            notes["empty captions"] = f"{self.empty:,} left out"
        if self.too_long:
            notes[f"captions of more than {MAX_CHARACTERS:,} characters"] = f"{self.too_long:,} left out"
        if self.normalized:
            notes["whitespace"] = f"normalized in {self.normalized:,} captions"
        if without_captions:
            notes["videos without a caption"] = (
                f"{len(without_captions):,} ({format_names(without_captions)}), kept without one"
            )
        return notes
