"""Cleaning of captions from user-supplied files; changes and omissions are counted with their first location.

Tables written by pandas hold lists as text and missing values as words, captions from web pages hold HTML entities,
and broken exports hold texts as long as a book. An empty caption is left out.
"""

import html
import json
import re
import unicodedata

from svilm_data.annotations.issues import LEFT_OUT, IssueCounter

MAX_CHARACTERS = 10_000  # per caption: beyond any text tower, and far below the limit of spaCy's parser

_MISSING = frozenset(("nan", "NaN", "NAN", "None", "null", "NULL", "N/A", "n/a", "<NA>"))
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9]*(?:\s[^<>]*)?/?>")
_LITERAL = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|nan|None"""
# As Python prints lists and tuples, and as NumPy prints arrays, which has blanks between elements.
_LIST = re.compile(
    rf"(?:array\()?[\[(]\s*(?:{_LITERAL})(?:(?:\s*,\s*|\s+)(?:{_LITERAL}))*\s*,?\s*[\])](?:,\s*dtype=\w+\))?", re.DOTALL
)
_OPENINGS = frozenset(a + b for a in "[({" for b in "[({'\"")
_ENDINGS = frozenset(a + b for a in "])}'\"" for b in "])}")
_NUMBERS = re.compile(r"[\[\](),\s\d.eE+-]+")


class CaptionCleaner:
    """Converts the content of a caption field into captions.

    Attributes:
      issues: counts what was changed, omitted, or irregular.
    """

    def __init__(self) -> None:
        """Starts empty."""
        self.issues = IssueCounter()

    def split(self, text: str, where: str) -> list[str]:
        """Returns the captions of a field: several if the text is a list as written by pandas, else the text itself."""
        stripped = text.strip()
        captions = parse_list(stripped)
        if captions is not None:
            self.issues.add("lists written as text", "read as several captions", where)
            return captions
        if stripped[:2] in _OPENINGS and stripped[-2:] in _ENDINGS:
            self.issues.add("captions that look like lists", "kept as they are", where)
        return [text]

    def clean(self, text: str, where: str) -> str | None:
        """Returns a caption in one line, or None if it is omitted."""
        if len(text) > MAX_CHARACTERS:
            self.issues.add(f"captions of more than {MAX_CHARACTERS:,} characters", LEFT_OUT, where)
            return None
        decoded = _decoded(text)
        if decoded != text:
            self.issues.add("captions with HTML entities", "decoded", where)
        words = " ".join(decoded.split())
        if not has_visible_text(words):
            self.issues.add("empty captions", LEFT_OUT, where)
        elif words in _MISSING:
            self.issues.add("captions that represent a missing value", LEFT_OUT, where)
        elif not any(unicodedata.category(c)[0] in "LN" or unicodedata.category(c) == "So" for c in words):
            self.issues.add("captions without a word", LEFT_OUT, where)
        else:
            if _TAG.search(words):
                self.issues.add("captions with HTML tags", "kept as they are", where)
            return words
        return None


def is_missing(value: object) -> bool:
    """Returns whether a field is empty, or a missing value as written by tables: null, NaN, or a similar word."""
    return value is None or value != value or (isinstance(value, str) and (not value.strip() or value in _MISSING))


def has_visible_text(text: str) -> bool:
    """Returns whether a text has more than whitespace, control characters and invisible marks (U+200B, U+FEFF)."""
    return any(not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf") for c in text)


def parse_list(text: str) -> list[str] | None:
    """Parses a list, tuple or array of strings that was written as text; None for any other text."""
    start = text.removeprefix("array(")[:1]
    if start not in ("[", "(") or not _LIST.fullmatch(text):
        return None
    literals = re.findall(_LITERAL, text, re.DOTALL)
    items = [_unquoted(literal) for literal in literals]
    quoted = sum(literal[0] in "'\"" for literal in literals)
    # A single string in parentheses is a caption in parentheses.
    return None if not quoted or (start == "(" and len(items) == 1) else items


def parse_number_list(text: str) -> object:
    """Parses nested lists of numbers written as text, such as "[[0, 1.5], (2, 4)]"; any other text is unchanged."""
    if not _NUMBERS.fullmatch(text):
        return text
    try:
        return json.loads(text.translate(str.maketrans("()", "[]")))
    except (ValueError, RecursionError):
        return text


def _decoded(text: str) -> str:
    """Decodes HTML entities, also those that were encoded twice (`&amp;quot;`)."""
    for _ in range(3):
        if "&" not in text or not _ENTITY.search(text):
            break
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    return text


def _unquoted(literal: str) -> str:
    if literal[0] not in "'\"":
        return "nan"
    return re.sub(r"\\(.)", lambda escape: " " if escape[1] in "ntr" else escape[1], literal[1:-1], flags=re.DOTALL)
