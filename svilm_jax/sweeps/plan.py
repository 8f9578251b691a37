"""Plan of a sweep: its trials, each identified by its resolved config, in `plan.jsonl`."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from svilm_jax.config import ConfigError
from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.filesystem.json_reader import read_lines

PLAN = "plan.jsonl"
TRIAL_CONFIG = "trial_config.json"
_DIGITS = 12  # of the hash: two of a million trials are the same with a probability of 0.2 %


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training run of a sweep.

    Attributes:
      id: hash of the resolved config, and name of the folder of the trial.
      changes: dotted key -> value, what distinguishes the trial; JSON values, so that tuples are lists.
      config: the resolved config, JSON values; empty for a trial of an earlier plan.
    """

    id: str
    changes: Mapping[str, Any]
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def make_trial(changes: Mapping[str, Any], config: Mapping[str, Any], identity: Mapping[str, Any]) -> Trial:
    """Makes a trial.

    Args:
      changes: dotted key -> value.
      config: nested values of the config with which the trial is run.
      identity: the same with every default filled in; trials of equal values are the same trial.

    Raises:
      ConfigError: a value that JSON cannot express.
    """
    canonical = json.dumps(_json(identity), sort_keys=True, separators=(",", ":"))
    return Trial(hashlib.sha256(canonical.encode()).hexdigest()[:_DIGITS], _json(changes), _json(config))


def distinct(trials: Iterable[Trial]) -> list[Trial]:
    """Returns the trials in order, the first of each id."""
    found: dict[str, Trial] = {}
    for trial in trials:
        found.setdefault(trial.id, trial)
    return list(found.values())


def read_plan(folder: Path) -> list[Trial]:
    """Reads the plan of a sweep folder; an empty list if there is none.

    Raises:
      ConfigError: the file is not a plan.
    """
    file = folder / PLAN
    if not file.is_file():
        return []
    try:
        return [Trial(line["trial"], line["changes"]) for _, line in read_lines(file)]
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{file}: not the plan of a sweep; choose another --out") from error


def extended(earlier: Iterable[Trial], trials: Iterable[Trial]) -> list[Trial]:
    """Returns the trials of an earlier plan in their order, followed by those that it lacks."""
    current = {trial.id: trial for trial in trials}
    known = [current.get(trial.id, trial) for trial in earlier]
    return distinct([*known, *current.values()])


def write_plan(folder: Path, trials: Iterable[Trial]) -> None:
    """Writes the plan and the config of each trial; a file that has the same contents is left alone."""
    lines = []
    for trial in trials:
        lines.append(json.dumps({"trial": trial.id, "changes": trial.changes}) + "\n")
        if trial.config:
            (folder / trial.id).mkdir(exist_ok=True)
            _write(folder / trial.id / TRIAL_CONFIG, json.dumps(trial.config, indent=1) + "\n")
    _write(folder / PLAN, "".join(lines))


def _write(file: Path, text: str) -> None:
    if file.is_file() and file.read_text() == text:
        return
    with atomic_write(file) as temporary:
        temporary.write_text(text)


def _json(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a tree as JSON reads it back."""
    try:
        copied: dict[str, Any] = json.loads(json.dumps(tree, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"sweep: a value that JSON cannot express ({error}); use numbers, text, lists") from error
    return copied
