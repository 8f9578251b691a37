"""Process pool with results that do not depend on the number of processes."""

import collections
import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

from svilm_data.pipeline.errors import PreparationError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

QUEUE_FACTOR = 4  # queued chunks per process: enough to keep it busy, few enough to hold in memory


class Mapper(Protocol):
    """Interface for distributing work: local processes, or a cluster."""

    def map(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item], *, task: str, chunk: int = 1
    ) -> Iterator[_Result]:
        """Yields `function` of every item, in the order of the items; see `Workers.map`."""


class Workers:
    """Process pool that is started on first use and shared by all steps of one preparation.

    With one process, everything runs in the calling process, since starting another one takes longer than a few clips.
    """

    def __init__(self, count: int):
        """Prepares a pool of `count` processes; raises `PreparationError` if that is below 1."""
        if count < 1:
            raise PreparationError(f"--workers {count}: expected a number of processes, at least 1")
        self.count = count
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None

    def map(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item], *, task: str, chunk: int = 1
    ) -> Iterator[_Result]:
        """Yields `function` of every item, in the order of the items, which are consumed lazily.

        Args:
          function: importable by name, since it is sent to other processes.
          items: arguments of the function, consumed lazily.
          task: description of the work, for errors.
          chunk: number of items per task.

        Raises:
          PreparationError: a worker process died, from lack of memory or a crash in a codec.
        """
        source = iter(items)
        first = list(itertools.islice(source, chunk + 1))
        if self.count == 1 or len(first) <= chunk:
            yield from map(function, itertools.chain(first, source))
            return
        pool = self._processes()
        waiting: collections.deque[tuple[list[_Item], concurrent.futures.Future[list[_Result]]]] = collections.deque()
        chunks = _chunks(itertools.chain(first, source), chunk)
        try:
            for members in chunks:
                with _no_interrupt():  # a process may be started here
                    waiting.append((members, pool.submit(_each, function, members)))
                if len(waiting) >= QUEUE_FACTOR * self.count:
                    yield from waiting.popleft()[1].result()
            while waiting:
                yield from waiting.popleft()[1].result()
        except BrokenProcessPool as error:
            near = ", ".join(str(item) for members, _ in list(waiting)[: self.count] for item in members[:2])
            raise PreparationError(
                f"{task}: a worker process died (near {near or 'the end'}). It ran out of memory, or a codec "
                "crashed: try --workers 1, and remove the file if that crashes as well"
            ) from error

    def close(self) -> None:
        """Stops the processes without waiting for unread results."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _processes(self) -> concurrent.futures.ProcessPoolExecutor:
        if self._pool is None:
            # Spawned, not forked: a fork of a process with threads may hang.
            context = multiprocessing.get_context("spawn")
            self._pool = concurrent.futures.ProcessPoolExecutor(self.count, context, _initialize_worker)
        return self._pool


@contextlib.contextmanager
def open_workers(count: int) -> Iterator[Workers]:
    """Creates `Workers` that are always stopped at the end."""
    workers = Workers(count)
    try:
        yield workers
    finally:
        workers.close()


@contextlib.contextmanager
def _no_interrupt() -> Iterator[None]:
    """Blocks Ctrl-C. A process started meanwhile inherits that, and is protected until `_initialize_worker` has run."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _initialize_worker() -> None:
    """Initializes a worker process: Ctrl-C is handled by the parent, and the worker ends if the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # otherwise it would wait forever for work from the parent


def _chunks(items: Iterator[_Item], size: int) -> Iterator[list[_Item]]:
    while members := list(itertools.islice(items, size)):
        yield members


def _each(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    return [function(item) for item in items]
