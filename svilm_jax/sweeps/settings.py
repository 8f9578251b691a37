"""Settings of a sweep: trials that differ only in their seed, with statistics of their metrics."""

import dataclasses
import functools
import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from svilm_jax.sweeps.attempts import State
from svilm_jax.sweeps.results import Row

SEEDS = ("train.seed", "arg.seed")  # keys that distinguish repetitions of one setting
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
        return ", ".join(f"{key}={shown(value)}" for key, value in self.changes.items()) or "no changes"


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


def shown(value: Any) -> str:
    """Formats a value for the page: numbers with four digits, others as JSON."""
    return value if isinstance(value, str) else f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
