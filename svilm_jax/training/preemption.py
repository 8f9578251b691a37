"""Stop signals of a run: recorded during training, which then saves a checkpoint and exits between two steps."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from svilm_jax.errors import EXIT_INTERRUPTED, STOP_SIGNALS

_SAME_PRESS = 1.0  # seconds: one Ctrl-C reaches a process twice if a wrapper forwards the terminal's signal


class Stopped(BaseException):
    """A signal asked the run to end; the message says what is saved. The same command resumes.

    Like KeyboardInterrupt no `Exception`: a signal may arrive anywhere, and what handles the errors of an evaluator, of
    a config file or of a checkpoint must not take it for one of them.
    """


def _leave(message: str) -> None:
    """Ends the process without saving, and its decoding processes."""
    os.write(2, f"\nsvilm train: {message}\n".encode())
    for process in multiprocessing.active_children():
        process.kill()
    os._exit(EXIT_INTERRUPTED)


class StopSignals:
    """Context manager that turns stop signals into an orderly end.

    Inside `deferred` they are only recorded, in `received`; elsewhere the first one raises `Stopped`. Further ones have
    no effect, so that a save in progress is never killed, except a second Ctrl-C (SIGINT), which ends the process at
    once. A signal that was ignored when the process started (nohup) stays ignored.

    Attributes:
      received: the first signal; None before.
      kept: text on what a restart will find.
      agreed: whether every process of the run ends here.
    """

    def __init__(self, leave: Callable[[str], None] = _leave):
        """`leave` is called at the second Ctrl-C, with a message, and does not return."""
        self.received: signal.Signals | None = None
        self.kept = "nothing is saved yet"
        self.agreed = False
        self._leave = leave
        self._deferred = False
        self._interrupted = 0.0  # time of the first Ctrl-C

    def __enter__(self) -> "StopSignals":
        self._before = {}
        if threading.current_thread() is threading.main_thread():  # handlers can only be set there
            for number in STOP_SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Records signals without interrupting anything; the caller has to check `received`."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def settle(self) -> None:
        """From the end of the context on, signals other than Ctrl-C are ignored.

        For a process that has saved and has only to leave: a further signal would change its exit status.
        """
        for number in self._before.keys() - {signal.SIGINT}:
            self._before[number] = signal.SIG_IGN

    def check(self) -> None:
        """Raises `Stopped` if a signal was received."""
        if self.received is not None:
            raise Stopped(self._message())

    def _message(self) -> str:
        by = "a signal" if self.received is None else self.received.name
        return f"stopped by {by}: {self.kept}; the same command resumes"

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first = self.received is None
        self.received = self.received or signal.Signals(number)
        if number == signal.SIGINT:
            now = time.monotonic()
            if self._interrupted and now - self._interrupted > _SAME_PRESS:
                self._leave(f"interrupted twice, ended at once: {self.kept}")
            if not self._interrupted and self._deferred:
                os.write(2, b"\nsvilm train: saving, then ending; Ctrl-C again ends at once without that\n")
            self._interrupted = self._interrupted or now
        if first and not self._deferred:
            raise Stopped(self._message())
