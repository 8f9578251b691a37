"""Progress line of a sweep on the console."""

import dataclasses
import sys
import time


@dataclasses.dataclass(frozen=True)
class Counts:
    """Number of trials in each state; `waiting` are those that this controller will still start."""

    total: int
    done: int
    running: int
    waiting: int
    failed: int
    diverged: int
    pruned: int = 0


class ProgressLine:
    """Prints one line per change, with the time that remains at the present rate."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._first: int | None = None  # trials that had ended at the start
        self._before: Counts | None = None

    def __call__(self, counts: Counts) -> None:
        """Prints the line if it differs from the one before."""
        ended = counts.done + counts.failed + counts.diverged + counts.pruned
        if self._first is None:
            self._first = ended
        if counts == self._before:
            return
        self._before = counts
        parts = [f"{counts.done}/{counts.total} done", f"{counts.running} running"]
        parts += [
            f"{getattr(counts, name)} {name}" for name in ("failed", "diverged", "pruned") if getattr(counts, name)
        ]
        left, here = counts.running + counts.waiting, ended - self._first
        if here and left:
            parts.append(f"about {duration((time.monotonic() - self._since) / here * left)} left")
        print(f"sweep: {', '.join(parts)}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Formats a duration: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
