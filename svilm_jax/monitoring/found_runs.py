"""Runs that the arguments of `svilm status` name: workdirs, folders of sweeps, and patterns of both."""

import csv
import dataclasses
import glob
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from svilm_jax.config import ConfigError
from svilm_jax.config.local_paths import require_local
from svilm_jax.errors import UserError
from svilm_jax.monitoring.run_status import is_workdir
from svilm_jax.sweeps.attempts import State
from svilm_jax.sweeps.plan import PLAN, read_plan
from svilm_jax.sweeps.results import CSV


@dataclasses.dataclass(frozen=True)
class FoundRun:
    """A run to report on.

    Attributes:
      workdir: its folder.
      changes: of a trial of a sweep; empty for other runs.
      pruned: whether the search of its sweep gave it up.
    """

    workdir: Path
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    pruned: bool = False


def find_runs(arguments: Sequence[str]) -> tuple[list[FoundRun], list[str]]:
    """Finds the runs that the arguments name, each once.

    Args:
      arguments: workdirs, folders of sweeps, and patterns with `*`, `?` or `[...]`; what else these match is left out.

    Returns:
      The runs in the order of the arguments, and one line for each argument that names none.
    """
    found: dict[Path, FoundRun] = {}
    problems = []
    for argument in arguments:
        try:
            runs = list(_runs(argument))
        except UserError as error:
            problems.append(str(error))
            continue
        for run in runs:
            found.setdefault(run.workdir.resolve(), run)
    return list(found.values()), problems


def _runs(argument: str) -> Iterator[FoundRun]:
    require_local(argument, "WORKDIR")
    folder = Path(argument)
    if folder.exists() or not glob.has_magic(argument):
        yield from _runs_of(folder)
        return
    folders = sorted(Path(folder.anchor).glob(str(folder.relative_to(folder.anchor))))
    folders = [folder for folder in folders if (folder / PLAN).is_file() or is_workdir(folder)]
    if not folders:
        raise ConfigError(f"{argument}: matches no workdir of `svilm train` and no --out of `svilm sweep`")
    for folder in folders:
        yield from _runs_of(folder)


def _runs_of(folder: Path) -> Iterator[FoundRun]:
    if not folder.is_dir():
        what = "a file, expected a folder" if folder.exists() else "no such folder"
        raise ConfigError(f"{folder}: {what}")
    if not (folder / PLAN).is_file():
        if not is_workdir(folder):
            empty = next(folder.iterdir(), None) is None
            what = "empty" if empty else "neither a workdir of `svilm train` nor an --out of `svilm sweep`"
            raise ConfigError(f"{folder}: {what}")
        yield FoundRun(folder)
        return
    pruned = _pruned(folder / CSV)
    for trial in read_plan(folder):
        yield FoundRun(folder / trial.id, trial.changes, trial.id in pruned)


def _pruned(results: Path) -> set[str]:
    """Returns the trials that a search gave up, which only the results of the sweep tell from stopped ones."""
    if not results.is_file():
        return set()
    with results.open(newline="") as file:
        return {row["trial"] for row in csv.DictReader(file) if row.get("status") == State.PRUNED.value}
