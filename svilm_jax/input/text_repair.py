"""Repair of malformed Unicode: halves of UTF-16 pairs, which no file, database or tokenizer accepts.

JSON can hold half an emoji ("\\ud83d"), and so can an argument or a file name that is not valid in the terminal's
encoding. Python keeps such a half as a character of its own and fails where the string is encoded, far from its source.
"""

import re
from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_HALF = re.compile("[\ud800-\udfff]")


def repaired(text: str) -> tuple[str, int]:
    """A text that every encoder of Unicode accepts, and how many halves of pairs were replaced by U+FFFD.

    Two halves that belong together become the character that they spell, and are not counted.
    """
    if not _HALF.search(text):
        return text, 0
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _HALF.subn(REPLACEMENT, joined)


class Repairs:
    """Count of the strings of a document that were repaired, and where the first one stood.

    Attributes:
      count: strings.
      first: file and place of the first; "" before there is one.
    """

    def __init__(self) -> None:
        """Nothing repaired yet."""
        self.count, self.first = 0, ""

    def note(self) -> str:
        """For the summary of a preparation; "" where nothing was repaired."""
        if not self.count:
            return ""
        return f"{self.count:,} texts, the broken part replaced by U+FFFD (first: {self.first})"

    def apply(self, value: Any, where: str, path: str = "") -> Any:
        """A JSON value with all its strings repaired, names of objects included.

        Args:
          value: nested no deeper than `json_reader.MAX_DEPTH`.
          where: the file, and line where it has lines, for `first`.
          path: to `value` in the document.
        """
        if isinstance(value, str):
            text, halves = repaired(value)
            if halves:
                self.count += 1
                self.first = self.first or without_folders(f"{where}: {path.lstrip('.')}" if path else where)
            return text
        if isinstance(value, list):
            return [self.apply(item, where, f"{path}[{number}]") for number, item in enumerate(value)]
        if isinstance(value, dict):
            return {
                self.apply(name, where, path): self.apply(item, where, f"{path}.{name}") for name, item in value.items()
            }
        return value


def without_folders(where: str) -> str:
    """A place such as "DIR/captions.csv: line 3" without the folders, which say something of the machine alone."""
    file, colon, rest = where.partition(": ")
    return file.rpartition("/")[2] + colon + rest
