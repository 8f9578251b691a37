"""Page of a sweep, `results.html`: table of trials, statistics over seeds, and curves of the loss; self-contained."""

import dataclasses
import functools
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.sweeps.attempts import State
from svilm_jax.sweeps.progress import duration
from svilm_jax.sweeps.results import Row

SEEDS = ("train.seed", "arg.seed")  # keys that distinguish repetitions of one setting
LOSS = "loss/total"
_POINTS = 400  # of a curve
_WIDTH, _HEIGHT = 860.0, 320.0  # of the plot area, in units of the SVG
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6bb1")


@dataclasses.dataclass(frozen=True)
class Statistic:
    """Statistics of a metric over the seeds of a setting.

    Attributes:
      mean: the mean.
      deviation: sample standard deviation; None for one seed.
      interval: 95 % bootstrap interval of the mean; None for one seed.
      count: number of seeds.
    """

    mean: float
    deviation: float | None
    interval: tuple[float, float] | None
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.4g}" + ("" if self.deviation is None else f" ± {self.deviation:.2g}")


@dataclasses.dataclass(frozen=True)
class Setting:
    """Trials that differ only in their seed.

    Attributes:
      changes: dotted key -> value, without seeds.
      rows: its trials.
      metrics: metric -> statistic over the trials that are done.
      color: of its curves.
    """

    changes: Mapping[str, Any]
    rows: Sequence[Row]
    metrics: Mapping[str, Statistic]
    color: str

    @property
    def done(self) -> int:
        """Number of trials that are done."""
        return sum(row.state is State.DONE for row in self.rows)

    @property
    def label(self) -> str:
        """The changes in one line."""
        return ", ".join(f"{key}={_shown(value)}" for key, value in self.changes.items()) or "no changes"


@dataclasses.dataclass(frozen=True)
class Plot:
    """Curves in the coordinates of an SVG, and the ticks of both axes as (position, text)."""

    lines: Sequence[tuple[str, str, str]]  # color, title, points
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    width: float = _WIDTH
    height: float = _HEIGHT


def write_page(file: Path, folder: Path, rows: Sequence[Row]) -> None:
    """Writes the page of a sweep.

    Args:
      file: the page.
      folder: folder of the sweep, with the `metrics.jsonl` of its trials.
      rows: the trials.
    """
    settings = group_by_setting(rows)
    keys = list(dict.fromkeys(key for row in rows for key in row.trial.changes))
    names = list(dict.fromkeys(name for row in rows for name in row.metrics))
    loader = jinja2.PackageLoader("svilm_jax.sweeps", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update(shown=_shown, duration=duration)
    text = environment.get_template("results.html").render(
        title=folder.absolute().name,
        rows=rows,
        keys=keys,
        setting_keys=[key for key in keys if key not in SEEDS],
        names=names,
        settings=settings,
        plot=plot_losses(folder, settings),
        refresh=any(row.state is State.RUNNING for row in rows),
        states={state.value: sum(row.state is state for row in rows) for state in State},
    )
    with atomic_write(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def group_by_setting(rows: Sequence[Row]) -> list[Setting]:
    """Groups the trials that differ only in their seed, in the order of the plan."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(json.dumps(_without_seeds(row), sort_keys=True), []).append(row)
    return [
        Setting(_without_seeds(members[0]), members, _statistics(members), _COLORS[number % len(_COLORS)])
        for number, members in enumerate(groups.values())
    ]


def _without_seeds(row: Row) -> dict[str, Any]:
    return {key: value for key, value in row.trial.changes.items() if key not in SEEDS}


def _statistics(rows: Sequence[Row]) -> dict[str, Statistic]:
    found = {}
    for name in dict.fromkeys(name for row in rows for name in row.metrics):
        values = [row.metrics[name] for row in rows if name in row.metrics]
        several = len(values) > 1
        deviation, interval = (statistics.stdev(values), bootstrap_interval(values)) if several else (None, None)
        found[name] = Statistic(statistics.mean(values), deviation, interval, len(values))
    return found


def bootstrap_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Returns the percentile bootstrap interval of the mean of some values; the same values give the same interval."""
    draws = _draws(len(values))
    low, high = np.quantile(np.asarray(values)[draws].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@functools.cache
def _draws(count: int) -> np.ndarray:
    """Returns the indices of resampled values [2000, count]."""
    return np.random.default_rng(0).integers(count, size=(2000, count))


def plot_losses(folder: Path, settings: Sequence[Setting]) -> Plot | None:
    """Returns the curves of the loss of all trials over the steps; None if none has been logged."""
    curves = [
        (setting, row, points)
        for setting in settings
        for row in setting.rows
        if len(points := read_curve(folder / row.trial.id / "metrics.jsonl")) > 1
    ]
    if not curves:
        return None
    steps = [step for _, _, points in curves for step, _ in points]
    losses = [loss for _, _, points in curves for _, loss in points]
    low, high = min(losses), max(losses)
    span, last = (high - low) or 1.0, max(steps) or 1

    def place(step: float, loss: float) -> str:
        return f"{step / last * _WIDTH:.1f},{(high - loss) / span * _HEIGHT:.1f}"

    return Plot(
        [
            (setting.color, f"{row.trial.id}: {setting.label}", " ".join(place(*point) for point in points))
            for setting, row, points in curves
        ],
        [(part / 4 * _WIDTH, f"{part / 4 * last:.0f}") for part in range(5)],
        [(part / 4 * _HEIGHT, f"{high - part / 4 * span:.3g}") for part in range(5)],
    )


def read_curve(file: Path) -> list[tuple[int, float]]:
    """Reads (step, loss) of a metrics.jsonl, at most `_POINTS` evenly spaced lines and the last one."""
    if not file.is_file():
        return []
    lines = file.read_bytes().split(b"\n")[:-1]  # the last line may be incomplete
    stride = max(1, len(lines) // _POINTS)
    points = []
    for number, line in enumerate(lines):
        if number % stride and number != len(lines) - 1:
            continue
        try:
            record = json.loads(line)
            points.append((int(record["step"]), float(record[LOSS])))
        except (ValueError, KeyError, TypeError):  # a line of an evaluation, or damaged
            continue
    return points


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
