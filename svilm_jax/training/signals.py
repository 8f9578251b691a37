"""How does a run end when it is asked to? Signals are remembered, and the loop stops between two steps."""

import signal
import threading
from types import FrameType


class StopSignals:
    """A context that remembers SIGTERM and SIGINT; a second one kills as usual."""

    received: signal.Signals | None = None

    def __enter__(self) -> "StopSignals":
        self._main = threading.current_thread() is threading.main_thread()  # only there may handlers be set
        if self._main:
            self._before = {s: signal.signal(s, self._remember) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        if self._main:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        signal.signal(number, self._before[self.received])
