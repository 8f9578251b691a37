"""Recognition of direction words (left, right, clockwise), which a horizontal flip makes wrong.

Captions and labels contain them on their own and inside compounds: `turn_left`, `turnLeft`, `bottom-left`, `leftside`.
A missed direction word teaches the wrong direction, while a false positive only costs a flip: every word that contains
the letters counts, except known words of another meaning, such as "bright" and "copyright".
"""

import re
import unicodedata
from collections.abc import Iterable

_SIDES = ("left", "right", "clockwise")
_LETTERS = re.compile(r"[A-Za-z]+")
_CASED = re.compile(r"[A-Z]*[a-z]+|[A-Z]+")  # the words of `turnLeft` and `turnLEFT`
# Words with the letters of a side and another meaning. Each is taken from the start of a word before the rest of that
# is searched, so that joined words count as well (`brightleft`). "Upright" and "downright" are read as the
# ordinary words that they are, not as two directions.
_OTHER_WORDS = re.compile(
    r"(?:un|over|ultra|al)?bright(?:s|er|est|en\w*|ly|ness|on|ish)?"
    r"|(?:a|af|stage)?fright(?:s|ful\w*|en\w*|ed)?"
    r"|(?:play|ship|wheel|cart|mill|boat|ark|wain|plow|plough|house|book|song|screen|coach|timber)?wright(?:s|ing|ed)?"
    r"|all?right(?:s|y)?"
    r"|(?:copy|birth|out|up|down|forth)right(?:s|ed|ing|er|ers|ly|ness|able)?"
    r"|right(?:eous\w*|ful\w*|ly|ed|ing|ness|o)$"
    r"|(?:un|de)?cleft(?:s|ed)?"
    r"|left(?:over\w*|ist\w*|ism)"
)


def mentions_side(texts: Iterable[str]) -> bool:
    """Returns whether a text contains a direction or a sense of rotation: such a clip must not be mirrored."""
    return any(_mentions(text) for text in texts)


def _mentions(text: str) -> bool:
    lower = text.lower()
    if text.isascii():
        if not any(side in lower for side in _SIDES):  # nearly all texts
            return False
    else:
        # Letters of other widths and styles become plain ones; invisible marks do not separate words.
        text = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return any(_is_side(word) for run in _LETTERS.findall(text) for word in (run, *_CASED.findall(run)))


def _is_side(word: str) -> bool:
    word = word.lower()
    other = _OTHER_WORDS.match(word)
    rest = word[other.end() :] if other else word
    return any(side in rest for side in _SIDES)
