"""Counter of irregularities in annotation files, for the summary of a preparation."""

import dataclasses
from collections.abc import Iterable

from svilm_jax.filesystem.unicode_repair import without_folders

LEFT_OUT = "left out"


@dataclasses.dataclass
class _Issue:
    count: int
    treatment: str
    first: str


class IssueCounter:
    """Counts of irregularities by kind, each with its treatment and, if known, its first location."""

    def __init__(self) -> None:
        """Starts without any issue."""
        self._issues: dict[str, _Issue] = {}

    def add(self, kind: str, treatment: str, where: str = "", count: int = 1) -> None:
        """Counts issues.

        Args:
          kind: description in the plural ("segments of zero length").
          treatment: what is done with them ("kept", "left out").
          where: location of the first of them ("DIR/train.json: line 3"); "": the summary names none.
          count: number of issues; a kind that never occurs is not reported.
        """
        if count:
            issue = self._issues.setdefault(kind, _Issue(0, treatment, without_folders(where)))
            issue.count += count

    def notes(self) -> dict[str, str]:
        """Returns kind -> count, treatment and first location, as text."""
        return {
            kind: f"{issue.count:,}, {issue.treatment} (first: {issue.first})"
            if issue.first
            else f"{issue.count:,}; {issue.treatment}"
            for kind, issue in self._issues.items()
        }


def format_names(names: Iterable[str], limit: int = 3) -> str:
    """Formats the first `limit` of some names and the number of others, for notes and errors."""
    names = list(names)
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
