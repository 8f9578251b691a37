"""Controller of a sweep: starts trials, retries them, and rewrites the results as they end.

It keeps no state of its own. What was tried is in `attempts.jsonl` of each trial, and a trial that is alive holds its
lock; a controller that is killed at any time and started again therefore continues where it was.
"""

import collections
import contextlib
import dataclasses
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Protocol

from svilm_jax.errors import EXIT_STOPPED, STOP_SIGNALS, UserError
from svilm_jax.filesystem.locks import created_folder, locked
from svilm_jax.sweeps.attempts import History, State, read_history
from svilm_jax.sweeps.launchers.launcher import LOG, Job, Launcher
from svilm_jax.sweeps.plan import Trial, distinct, write_plan
from svilm_jax.sweeps.progress import Counts
from svilm_jax.sweeps.results import Results

LOCK = ".lock"
EXIT_FAILED = 1  # a trial failed more often than it is retried
_POLL_SECONDS = 0.05
_RESULTS_SECONDS = 30.0  # between two looks at the steps and curves of the trials that are active
_SEARCH_SECONDS = 1.0  # between two looks at the metrics of the trials that are active


class TrialRefusedError(UserError):
    """A trial that ended with an error of the user; the message has its last line of output."""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What a controller is to run.

    Attributes:
      folder: of the sweep.
      plan: all trials of the folder, in the order of the results.
      wanted: ids of the trials to run; the others only appear in the results.
      command: trial and folder of the trial -> program and arguments.
      retries: how often a failed trial is run again.
      metric: of the parallel coordinates; "": the first one.
    """

    folder: Path
    plan: Sequence[Trial]
    wanted: frozenset[str]
    command: Callable[[Trial, Path], Sequence[str]]
    retries: int = 1
    metric: str = ""

    def job(self, trial: Trial) -> Job:
        """Returns the trial as launchers see it."""
        folder = self.folder / trial.id
        return Job(trial.id, folder, tuple(self.command(trial, folder)))


def is_due(history: History, retries: int) -> bool:
    """Returns whether a trial that is not active is to be run, first or again."""
    if history.state is State.FAILED:
        return history.failures <= retries
    return history.state not in (State.DONE, State.DIVERGED)


class Search(Protocol):
    """Adds trials to a sweep while it runs."""

    def next(self, active: set[str]) -> list[Trial]:
        """Returns the trials to run next, of which the first is to be started now; an empty list: none at present."""
        ...

    def hopeless(self, active: set[str]) -> set[str]:
        """Returns the active trials to stop for good."""
        ...

    def is_pruned(self, id: str) -> bool:
        """Returns whether a trial was given up."""
        ...


@contextlib.contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """Holds the lock of a sweep folder, which it creates.

    Raises:
      LockError: another controller holds it, or it cannot be written to.
    """
    name = f"--out={folder}"
    with created_folder(folder, name), locked(folder / LOCK, name):
        yield


def run_sweep(
    sweep: Sweep,
    launcher: Launcher,
    progress: Callable[[Counts], None] = lambda counts: None,
    search: Search | None = None,
) -> int:
    """Runs the trials of a sweep that have not ended; the caller holds the lock of the folder.

    Args:
      sweep: what to run.
      launcher: where to run it.
      progress: called with the number of trials in each state when they change.
      search: adds trials whenever another one can be started; None: the plan is all.

    Returns:
      The exit status: 0; 1 if a trial failed; 75 if a signal stopped the sweep, which then has saved.

    Raises:
      TrialRefusedError: a trial ended with an error of the user; the other trials are stopped.
      KeyboardInterrupt: a second Ctrl-C; the trials are asked to stop, but not waited for.
    """
    with _StopRequest() as request:
        return _Controller(sweep, launcher, progress, search, request).run()


class _StopRequest:
    """Context manager that records stop signals; a second Ctrl-C raises KeyboardInterrupt."""

    def __enter__(self) -> "_StopRequest":
        self.received = False
        self._interrupted = False
        self._before = {
            number: signal.signal(number, self._handle)
            for number in STOP_SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = self._interrupted or number == signal.SIGINT
        self.received = True


class _Controller:
    def __init__(
        self,
        sweep: Sweep,
        launcher: Launcher,
        progress: Callable[[Counts], None],
        search: Search | None,
        request: _StopRequest,
    ) -> None:
        self._sweep, self._launcher, self._progress, self._request = sweep, launcher, progress, request
        self._search = search
        self._plan, self._wanted = list(sweep.plan), set(sweep.wanted)
        self._search_due = 0.0
        self._results_due = 0.0
        self._jobs = {trial.id: sweep.job(trial) for trial in sweep.plan}
        self._results = Results(sweep.folder, sweep.plan, sweep.metric)
        self._queue: collections.deque[str] = collections.deque()
        self._refused = ""

    def run(self) -> int:
        self._launcher.adopt(list(self._jobs.values()))
        running = self._launcher.active()
        histories = {id: read_history(job.folder) for id, job in self._jobs.items()}
        for trial in self._sweep.plan:
            self._update(trial.id, histories[trial.id], trial.id in running)
            if trial.id in self._wanted - running and is_due(histories[trial.id], self._sweep.retries):
                self._queue.append(trial.id)
        self._publish()
        try:
            self._loop(running)
        except Exception:  # such as a suggestion of a search that is no valid config
            self._launcher.stop(self._launcher.active())
            raise
        for id, job in self._jobs.items() if self._search else ():
            self._update(id, read_history(job.folder), running=False)
        self._results.write(final=True)
        return self._status()

    def _loop(self, running: set[str]) -> None:
        asked = False
        while True:
            running = self._step(running)
            if self._stopping and not asked:
                self._launcher.stop(running)
                asked = True
            if not running and (self._stopping or not self._queue):
                break
            time.sleep(_POLL_SECONDS)

    @property
    def _stopping(self) -> bool:
        return self._request.received or bool(self._refused)

    def _step(self, running: set[str]) -> set[str]:
        """Takes note of the trials that ended and starts others; returns those that are active now."""
        active = self._launcher.active()
        for id in sorted(running - active):
            self._ended(id)
        self._prune(active)
        started: set[str] = set()
        while not self._stopping and self._launcher.free() and (id := self._next(active | started)):
            self._launcher.start(self._jobs[id])
            started.add(id)
        running_now = active | started
        if started or running - active or time.monotonic() >= self._results_due:
            for id in running_now:
                self._update(id, read_history(self._jobs[id].folder), running=True)
            self._publish()
        return running_now

    def _ended(self, id: str) -> None:
        history = read_history(self._jobs[id].folder)
        self._update(id, history, running=False)
        if history.state is State.REFUSED:
            self._refused = self._refused or id
        elif id in self._wanted and is_due(history, self._sweep.retries):
            self._queue.append(id)

    def _next(self, active: set[str]) -> str:
        """Returns the id of the trial to start now; "" if there is none."""
        if self._queue:
            return self._queue.popleft()
        trials = self._search.next(active) if self._search else []
        if not trials:
            return ""
        if new := [trial for trial in trials if trial.id not in self._jobs]:
            self._plan = distinct([*self._plan, *new])
            write_plan(self._sweep.folder, self._plan)
            for trial in new:
                self._jobs[trial.id] = self._sweep.job(trial)
                self._results.add(trial)
        return trials[0].id

    def _prune(self, active: set[str]) -> None:
        """Stops the trials that the search gives up, asking it every few seconds."""
        if self._search is None or self._stopping or time.monotonic() < self._search_due:
            return
        self._launcher.stop(self._search.hopeless(active))
        self._search_due = time.monotonic() + _SEARCH_SECONDS

    def _update(self, id: str, history: History, running: bool) -> None:
        pruned = self._search is not None and self._search.is_pruned(id)
        self._results.update(id, history, running, pruned and not running)

    def _publish(self) -> None:
        self._results.write()
        self._results_due = time.monotonic() + _RESULTS_SECONDS
        self._progress(self._results.counts(len(self._queue)))

    def _status(self) -> int:
        if self._refused:
            folder = self._jobs[self._refused].folder
            raise TrialRefusedError(f"trial {self._refused} was refused: {_last_line(folder / LOG)} ({folder / LOG})")
        if self._request.received:
            return EXIT_STOPPED
        failed = self._results.counts(0).failed
        return EXIT_FAILED if failed else 0


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")
