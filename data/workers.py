"""How is work spread over processes, with the same result for any number of them?"""

import concurrent.futures
import contextlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

from .errors import PreparationError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Workers:
    """Processes that are started when first needed and shared by all steps of one preparation.

    With fewer than two, everything runs in this process: a handful of clips is done before a process has started.
    """

    def __init__(self, count: int):
        """`count`: processes; raises `PreparationError` below 1."""
        if count < 1:
            raise PreparationError(f"--workers {count}: expected a number of processes, at least 1")
        self.count = count
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None

    def map(
        self, function: Callable[[_Item], _Result], items: Sequence[_Item], *, doing: str, unit: str, chunk: int = 1
    ) -> Iterator[_Result]:
        """`function` of every item, in the order of the items, behind a progress bar.

        Args:
          function: importable by name, as it travels to other processes.
          doing: label of the bar and of errors.
          unit: what an item is.
          chunk: items handed to a process at once.

        Raises:
          PreparationError: a process died, which is memory or a crash in a codec, and not an exception.
        """
        with tqdm(total=len(items), desc=doing, unit=unit, disable=None if len(items) > 1 else True) as bar:
            results: Iterator[_Result]
            if self.count == 1 or len(items) <= chunk:
                results = map(function, items)
            else:
                results = self._processes().map(function, items, chunksize=chunk)
            done = 0
            try:
                for result in results:
                    yield result
                    done += 1
                    bar.update()
            except concurrent.futures.process.BrokenProcessPool as error:
                near = ", ".join(str(item) for item in items[done : done + self.count * chunk + 1][:4])
                raise PreparationError(
                    f"{doing}: a worker process died near item {done + 1} of {len(items)} ({near}, ...). It ran out "
                    "of memory, or a codec crashed: try --workers 1, and take the file out if it dies again"
                ) from error

    def close(self) -> None:
        """Stops the processes without waiting for work that nobody will read."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _processes(self) -> concurrent.futures.ProcessPoolExecutor:
        if self._pool is None:
            # Spawned, not forked: a fork of a process that has threads may hang.
            context = multiprocessing.get_context("spawn")
            self._pool = concurrent.futures.ProcessPoolExecutor(self.count, mp_context=context)
        return self._pool


@contextlib.contextmanager
def working(count: int) -> Iterator[Workers]:
    """`Workers` that are stopped at the end, whatever happens."""
    workers = Workers(count)
    try:
        yield workers
    finally:
        workers.close()
