"""Metric writers: console, JSON lines and TensorBoard, and those of `experiment_trackers`, as the config selects them.

Their methods are named as those of clu's writers, which import TensorFlow; tensorboardX writes TensorBoard files.
"""

import functools
import importlib.util
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tensorboardX import SummaryWriter
from tqdm import tqdm

from svilm_jax.config import Config, ConfigError
from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.filesystem.log_lines import read_lines
from svilm_jax.training.contained_writers import BackgroundWriter, ContainedWriter, Failures, MetricWriter
from svilm_jax.training.experiment_trackers import TRACKERS, tracked_run

METRICS = "metrics.jsonl"
_CLOSE_SECONDS, _HURRIED_SECONDS = 30.0, 5.0  # for which a writer in the background may finish


class JsonLinesWriter:
    """Appends one line per call to WORKDIR/metrics.jsonl: the step, the time in seconds since 1970, the metrics."""

    def __init__(self, workdir: Path, start: int):
        """`start`: later lines, of a run that was stopped after its latest checkpoint, are dropped."""
        path = workdir / METRICS
        if path.is_file():
            kept = [line for line in read_lines(path) if line["step"] <= start]
            with atomic_write(path) as temporary:
                temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a")

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes one line, and flushes it."""
        line = {"step": step, "time": round(time.time(), 3), **scalars}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def flush(self) -> None:
        """Flushes the file."""
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class TensorBoardWriter:
    """Writes one point per metric to WORKDIR/tensorboard."""

    def __init__(self, workdir: Path, start: int):
        """`start`: TensorBoard hides later points, of a run that was stopped after its latest checkpoint."""
        self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=start + 1)

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds the points."""
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)

    def flush(self) -> None:
        """Flushes the event file; points that tensorboardX has in its queue follow within two minutes."""
        self._board.flush()

    def close(self) -> None:
        """Closes the event file."""
        self._board.close()


class ConsoleWriter:
    """Prints a short line above the progress bar."""

    def __init__(self, names: tuple[str, ...]):
        """`names`: the metrics to print, in this order; a line without any of them is not printed."""
        self._names = names

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Prints the line."""
        shown = "  ".join(f"{name.split('/')[-1]} {scalars[name]:.4g}" for name in self._names if name in scalars)
        if shown:
            tqdm.write(f"step {step:>6}  {shown}")

    def flush(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


class MetricWriters:
    """The writers of a run as one. None of its methods raises, and none waits for a server."""

    def __init__(self, writers: Mapping[str, ContainedWriter | BackgroundWriter]):
        """`writers`: name, as in the config -> writer."""
        self._writers = dict(writers)

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes metrics that belong to one number of steps."""
        for writer in self._writers.values():
            writer.write_scalars(step, scalars)

    def write_final(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes the metrics of the evaluation at the end, except where `metrics.json` and its table are enough."""
        for name, writer in self._writers.items():
            if name not in ("console", "jsonl"):
                writer.write_scalars(step, scalars)

    def flush(self) -> None:
        """Makes everything written so far visible to readers."""
        for writer in self._writers.values():
            writer.flush()

    def close(self, hurry: bool = False) -> None:
        """Closes all writers, and logs how often each failed; `hurry` if the process is about to be killed."""
        for writer in self._writers.values():
            writer.close(_HURRIED_SECONDS if hurry else _CLOSE_SECONDS)
            writer.failures.summarize()


def check_writers(config: Config) -> None:
    """Rejects writers whose library is not installed.

    Raises:
      ConfigError: naming the extra.
    """
    for name in config.train.writers:
        if name in TRACKERS and importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"config.train.writers: {name} needs a package that is not installed: pip install 'svilm_jax[{name}]'"
            )


def open_writers(config: Config, workdir: Path, start: int, console: tuple[str, ...] = ()) -> MetricWriters:
    """Opens the writers of `config.train.writers`.

    Args:
      config: the resolved config.
      workdir: folder of the run, which is created if it is missing.
      start: step from which the run resumes; 0 for a new one.
      console: names of the metrics for the console.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    local: Mapping[str, Callable[[], MetricWriter]] = {
        "console": functools.partial(ConsoleWriter, console),
        "jsonl": functools.partial(JsonLinesWriter, workdir, start),
        "tensorboard": functools.partial(TensorBoardWriter, workdir, start),
    }
    # Read before the log is cut: it tells how far an earlier attempt came.
    logged = max((line["step"] for line in read_lines(workdir / METRICS)), default=0)
    writers: dict[str, ContainedWriter | BackgroundWriter] = {}
    for name in config.train.writers:
        if name in local:
            writers[name] = ContainedWriter(local[name], Failures(name))
    for name in config.train.writers:
        if name in TRACKERS:
            run = tracked_run(config, workdir, start, logged)
            writers[name] = BackgroundWriter(functools.partial(TRACKERS[name], run), Failures(name))
    return MetricWriters(writers)
