"""Results of a sweep: one row per trial, written to `results.csv` and `results.html` while the sweep runs."""

import collections
import csv
import dataclasses
import io
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from svilm_jax.evaluation.metrics_file import read_scalars
from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.filesystem.log_lines import read_lines_backward
from svilm_jax.sweeps.attempts import History, State
from svilm_jax.sweeps.plan import Trial
from svilm_jax.sweeps.progress import Counts

CSV, PAGE = "results.csv", "results.html"
STEPS = "train/steps"
# Of the attempt that ended, not of the trial: it depends on how often the trial was stopped.
_LEFT_OUT = (STEPS, "train/seconds")
_SHARE = 0.02  # of the time that may be spent on writing the page


@dataclasses.dataclass(frozen=True)
class Row:
    """Result of one trial.

    Attributes:
      trial: the trial.
      state: its state.
      status: exit status of the latest attempt; None if it did not end under supervision.
      steps: number of training steps so far; None if it has not logged any.
      metrics: of a trial that is done.
      seconds: time of all attempts that ended.
    """

    trial: Trial
    state: State
    status: int | None = None
    steps: int | None = None
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0


class Results:
    """The rows of a sweep, kept up to date by its controller."""

    def __init__(self, folder: Path, plan: Sequence[Trial], metric: str = ""):
        """`metric`: that of the parallel coordinates of the page; "": the first one."""
        self._folder, self._metric = folder, metric
        self._rows = {trial.id: Row(trial, State.PLANNED) for trial in plan}
        self._page_due = 0.0

    def add(self, trial: Trial) -> None:
        """Adds a row for a trial, if it has none."""
        self._rows.setdefault(trial.id, Row(trial, State.PLANNED))

    def update(self, id: str, history: History, running: bool, pruned: bool = False) -> None:
        """Reads the results of a trial whose state changed."""
        state = State.RUNNING if running else history.state
        if pruned and state is not State.DONE:
            state = State.PRUNED
        self._rows[id] = read_row(self._folder, self._rows[id].trial, state, history)

    def write(self, final: bool = False) -> None:
        """Writes both files; the page only if the last one is old enough, or if `final`."""
        rows = list(self._rows.values())
        write_csv(self._folder / CSV, rows)
        if final or time.monotonic() >= self._page_due:
            from svilm_jax.sweeps.page import write_page

            started = time.monotonic()
            write_page(self._folder / PAGE, self._folder, rows, self._metric)
            ended = time.monotonic()
            self._page_due = ended + (ended - started) / _SHARE

    def counts(self, waiting: int) -> Counts:
        """Returns the number of trials in each state."""
        number = collections.Counter(row.state for row in self._rows.values())
        return Counts(
            len(self._rows),
            number[State.DONE],
            number[State.RUNNING],
            waiting,
            number[State.FAILED],
            number[State.DIVERGED],
            number[State.PRUNED],
        )


def read_row(folder: Path, trial: Trial, state: State, history: History) -> Row:
    """Reads the metrics and the steps of a trial from its workdir."""
    workdir = folder / trial.id
    if state is State.DONE:
        metrics = read_scalars(workdir / "metrics.json")
        shown = {name: value for name, value in metrics.items() if name not in _LEFT_OUT}
        steps = int(metrics[STEPS]) if STEPS in metrics else None
        return Row(trial, state, history.status, steps, shown, history.seconds)
    steps = _last_step(workdir / "metrics.jsonl")
    return Row(trial, state, None if state is State.RUNNING else history.status, steps, {}, history.seconds)


def write_csv(file: Path, rows: Sequence[Row]) -> None:
    """Writes one line per trial, in the order of the plan; floats with all digits, other values as JSON."""
    keys = ordered_keys(row.trial.changes for row in rows)
    names = ordered_keys(row.metrics for row in rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", *keys, "status", "steps", *names])
    for row in rows:
        changes = [_cell(row.trial.changes[key]) if key in row.trial.changes else "" for key in keys]
        metrics = [_cell(row.metrics[name]) if name in row.metrics else "" for name in names]
        writer.writerow([row.trial.id, *changes, row.state.value, "" if row.steps is None else row.steps, *metrics])
    with atomic_write(file) as temporary:
        temporary.write_text(text.getvalue())


def ordered_keys(tables: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns the keys of all tables, each once, in the order of their first appearance."""
    return list(dict.fromkeys(key for table in tables for key in table))


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _last_step(file: Path) -> int | None:
    """Returns the step of the last whole line of a metrics.jsonl; None if there is none."""
    for line in read_lines_backward(file):
        try:
            return int(line["step"])
        except (ValueError, KeyError, TypeError):
            continue
    return None
