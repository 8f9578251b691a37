"""Containment of metric writers: their errors are logged once, counted, and never reach the training loop.

A lost curve is not worth a lost run. Whether a full disk or a broken network ends the training is decided by the next
checkpoint.
"""

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

log = logging.getLogger(__name__)

_WAITING = 10_000  # calls that wait for a slow writer, at most


class MetricWriter(Protocol):
    """Destination of the metrics of a run."""

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes metrics that belong to one number of steps."""
        ...

    def flush(self) -> None:
        """Makes everything written so far visible to readers."""
        ...

    def close(self) -> None:
        """Flushes and releases everything; nothing is written afterwards."""
        ...


class Failures:
    """Failures of one writer.

    Attributes:
      count: number of failures so far.
    """

    def __init__(self, name: str):
        """`name` of the writer, as in the config."""
        self._name, self.count = name, 0

    def add(self, error: Exception) -> None:
        """Counts a failure, and logs the first."""
        self.count += 1
        if self.count == 1:
            reason = " ".join(str(error).split()) or type(error).__name__
            log.warning("writer %s: %s. Training goes on; further failures are only counted", self._name, reason)

    def summarize(self) -> None:
        """Logs the number of failures, if there were more than the one that is logged already."""
        if self.count > 1:
            log.warning("writer %s: %d failures", self._name, self.count)


class ContainedWriter:
    """A writer whose errors are counted instead of raised.

    Attributes:
      failures: the failures; each call after a failed `open` is another one.
    """

    def __init__(self, open: Callable[[], MetricWriter], failures: Failures):
        """`open` makes the writer."""
        self.failures = failures
        self._writer: MetricWriter | None = None
        try:
            self._writer = open()
        except Exception as error:  # any error, of a library, a disk or a server
            failures.add(error)

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes metrics."""
        if self._writer is None:
            self.failures.count += 1
            return
        try:
            self._writer.write_scalars(step, scalars)
        except Exception as error:
            self.failures.add(error)

    def flush(self) -> None:
        """Flushes the writer."""
        if self._writer is not None:
            try:
                self._writer.flush()
            except Exception as error:
                self.failures.add(error)

    def close(self, seconds: float = 0) -> None:
        """Closes the writer; `seconds` has no effect."""
        if self._writer is not None:
            try:
                self._writer.close()
            except Exception as error:
                self.failures.add(error)


class BackgroundWriter:
    """A contained writer in a thread of its own, for one that may wait for a server: training never waits for it.

    Calls that do not fit the queue are dropped and counted.

    Attributes:
      failures: the failures.
    """

    def __init__(self, open: Callable[[], MetricWriter], failures: Failures):
        """Starts the thread, in which `open` makes the writer."""
        self.failures = failures
        self._calls: queue.Queue[tuple[int, Mapping[str, float]] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._work, args=(open,), name="metric writer", daemon=True)
        self._thread.start()

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Hands metrics to the thread."""
        try:
            self._calls.put_nowait((step, scalars))
        except queue.Full:
            self.failures.add(TimeoutError(f"{_WAITING} calls are waiting"))

    def flush(self) -> None:
        """Does nothing: the thread writes as fast as the writer takes it."""

    def close(self, seconds: float) -> None:
        """Waits until everything is written and the writer is closed, but not longer than `seconds`."""
        try:
            self._calls.put(None, timeout=seconds)
            self._thread.join(seconds)
        except queue.Full:
            pass
        if self._thread.is_alive():
            self.failures.add(TimeoutError(f"not finished {seconds:g} s after the end"))

    def _work(self, open: Callable[[], MetricWriter]) -> None:
        writer = ContainedWriter(open, self.failures)
        while (call := self._calls.get()) is not None:
            writer.write_scalars(*call)
        writer.close()
