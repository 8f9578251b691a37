"""Grid language of sweeps, passed to `get_hyper(hyper)` of a config file.

A sweep is a list of trials, and a trial is a dict from dotted config keys to values. The functions have the names and
the meaning that users of ml_collections configs know: `sweep` and `fixed` make sweeps of one key, and `product`,
`zipit` and `chainit` combine sweeps.
"""

import itertools
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from svilm_jax.config import ConfigError, quoted

Changes = dict[str, Any]  # dotted key -> value
Sweep = list[Changes]


def sweep(key: str, values: Iterable[Any]) -> Sweep:
    """Returns one trial for each value of a key.

    Raises:
      ConfigError: `values` is text or not iterable.
    """
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise ConfigError(f"hyper.sweep({key!r}, {quoted(values)}): expected a list of values")
    return [{key: value} for value in values]


def fixed(key: str, value: Any, length: int = 1) -> Sweep:
    """Returns `length` trials with the same value of a key."""
    return [{key: value} for _ in range(length)]


def product(sweeps: Iterable[Iterable[Mapping[str, Any]]]) -> Sweep:
    """Returns all combinations of trials, one from each sweep; the last sweep varies fastest.

    Raises:
      ConfigError: two sweeps change the same key.
    """
    return [_merged(trials, "product") for trials in itertools.product(*map(_listed, sweeps))]


def zipit(sweeps: Iterable[Iterable[Mapping[str, Any]]]) -> Sweep:
    """Combines the first trials of all sweeps, the second ones, and so on.

    Raises:
      ConfigError: the sweeps differ in length, or two of them change the same key.
    """
    columns = [_listed(trials) for trials in sweeps]
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise ConfigError(f"hyper.zipit: sweeps of {', '.join(map(str, lengths))} trials; expected the same number")
    return [_merged(trials, "zipit") for trials in zip(*columns, strict=True)]


def chainit(sweeps: Iterable[Iterable[Mapping[str, Any]]]) -> Sweep:
    """Returns the trials of the first sweep, then those of the second, and so on."""
    return [trial for trials in sweeps for trial in _listed(trials)]


def subsample(trials: Iterable[Mapping[str, Any]], count: int, seed: int = 0) -> Sweep:
    """Returns `count` trials drawn without replacement, in their original order; all of them if there are fewer."""
    listed = _listed(trials)
    chosen = random.Random(seed).sample(range(len(listed)), min(count, len(listed)))
    return [listed[place] for place in sorted(chosen)]


def _listed(trials: Iterable[Mapping[str, Any]]) -> Sweep:
    if isinstance(trials, (str, Mapping)) or not isinstance(trials, Iterable):
        raise ConfigError(f"hyper: {quoted(trials)} is not a sweep; expected what hyper.sweep or hyper.product returns")
    listed = list(trials)
    for trial in listed:
        if not isinstance(trial, Mapping):
            raise ConfigError(f"hyper: {quoted(trial)} is not a trial; expected a dict of dotted config keys")
    return [dict(trial) for trial in listed]


def _merged(trials: Sequence[Changes], function: str) -> Changes:
    merged: Changes = {}
    for trial in trials:
        if twice := sorted(merged.keys() & trial.keys()):
            raise ConfigError(f"hyper.{function}: two sweeps change {', '.join(twice)}")
        merged.update(trial)
    return merged
