"""Decoding processes that outlive the stop signals of a run, and end with it.

Schedulers and terminals send a signal to all processes of a job. Training saves at a stop signal, and needs its input
until then; the default of a decoding process is to die.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker

from svilm_jax.errors import STOP_SIGNALS


@contextlib.contextmanager
def deaf_children() -> Iterator[None]:
    """Context in which processes are started that no stop signal ends.

    Stop signals are blocked in this thread, which children inherit for good. This process loses none: other threads
    receive them, or this one at the end of the context.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        resource_tracker.ensure_running()  # a process that Python starts on demand, and then unblocks two of them
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def initialize_worker(index: int, count: int) -> None:
    """Makes worker process `index` of `count` end when the one that started it is gone, even if that was killed."""
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
