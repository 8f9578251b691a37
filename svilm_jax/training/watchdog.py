"""Watchdog thread that reports the step and phase in which a run is stuck, and ends the process.

A process that waits forever (for a lost host, a dead file system, a killed worker) costs as much as one that trains,
and a cluster restarts only processes that have exited.
"""

import contextlib
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

EXIT_STUCK = 70  # EX_SOFTWARE: restarting is worth a try


def _end(message: str) -> None:
    """Prints the stack of every thread, and ends the process without waiting for any of them."""
    print(message, file=sys.stderr, flush=True)
    faulthandler.dump_traceback(file=sys.stderr)
    os._exit(EXIT_STUCK)


class Watchdog:
    """Context manager; `phase` names the current activity, and every change of it is a sign of life."""

    def __init__(self, minutes: float, end: Callable[[str], None] = _end):
        """`minutes` that a phase may last, 0: no limit; `end` is called with the message and does not return."""
        self._limit, self._end = 60 * minutes, end
        self._doing, self._since = "start", time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        if self._limit:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._limit:
            self._thread.join()

    @contextlib.contextmanager
    def phase(self, name: str, step: int) -> Iterator[None]:
        """Marks that `name` is in progress at `step`."""
        before = self._doing
        self._doing, self._since = f"{name}, step {step}", time.monotonic()
        yield
        self._doing, self._since = before, time.monotonic()

    def _watch(self) -> None:
        while not self._stop.wait(min(10.0, self._limit / 4)):
            seconds = time.monotonic() - self._since
            if seconds > self._limit:
                self._end(
                    f"no progress for {seconds / 60:.1f} minutes, in: {self._doing}. The run ends here; the stacks of "
                    "its threads follow. The same command resumes from the latest checkpoint. "
                    "config.train.watchdog_minutes sets how long a phase may last, 0: no limit"
                )
                return
