"""The `svilm sweep` command: trains the trials of a sweep and compares them."""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svilm_jax.cli.arguments import CONFIG
from svilm_jax.cli.arguments import OVERRIDES as OVERRIDES_HELP
from svilm_jax.cli.config_file import (
    REGISTERED_BY,
    explained_errors,
    find_config_file,
    is_self_contained,
    read_config,
    read_config_module,
    with_defaults,
)
from svilm_jax.cli.ray_options import add_ray_arguments, check_ray_arguments, make_ray_launcher
from svilm_jax.cli.slurm_options import add_slurm_arguments, check_slurm_arguments, make_slurm_launcher
from svilm_jax.config import Config, ConfigError, quoted
from svilm_jax.config.overrides import parse_overrides
from svilm_jax.errors import EXIT_STOPPED
from svilm_jax.filesystem.output_paths import check_output_folder
from svilm_jax.sweeps.attempts import read_history
from svilm_jax.sweeps.controller import Sweep, held_folder, run_sweep
from svilm_jax.sweeps.definition import expand, plain_changes, split_argument
from svilm_jax.sweeps.launchers.launcher import Launcher
from svilm_jax.sweeps.launchers.local import LocalLauncher, visible_gpus
from svilm_jax.sweeps.plan import TRIAL_CONFIG, Trial, distinct, extended, make_trial, read_plan, write_plan
from svilm_jax.sweeps.progress import ProgressLine
from svilm_jax.sweeps.results import CSV, PAGE

if TYPE_CHECKING:
    from svilm_jax.sweeps.search import OptunaSearch

OVERRIDES = True
LAUNCHERS = ("local", "ray", "slurm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `svilm sweep`."""
    parser.epilog = (
        f"{OVERRIDES_HELP}; they apply to every trial. example: "
        "svilm sweep --config=sweeps/ablation --sweep=arms,seeds --out=runs/ablation --jobs=2"
    )
    parser.add_argument("--config", required=True, metavar="FILE[:ARG]", help=f"{CONFIG}, with sweeps")
    parser.add_argument(
        "--sweep",
        default="",
        metavar="NAME[,NAME...]",
        help="product of the functions sweep_NAME() of the file; default: its sweep() or get_hyper(hyper)",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the plan, trials and results")
    parser.add_argument("--launcher", choices=LAUNCHERS, default="local", help="where trials run (default: local)")
    parser.add_argument(
        "--jobs", type=int, default=0, metavar="N", help="trials at once; default: 1, or all GPUs; with slurm: all"
    )
    parser.add_argument("--gpus-per-trial", type=int, default=0, metavar="N", help="GPUs of each trial; default: all")
    parser.add_argument("--retries", type=int, default=1, metavar="N", help="runs of a trial after it failed")
    search = parser.add_argument_group("search", "with Optuna, by `def search(trial)` of the file")
    search.add_argument("--trials", type=int, default=0, metavar="N", help="number of trials that Optuna suggests")
    search.add_argument("--metric", default="", metavar="NAME", help="metric of metrics.json, such as retrieval/t2v_R1")
    search.add_argument("--minimize", action="store_true", help="smaller values of the metric are better")
    search.add_argument("--seeds", type=int, default=1, metavar="N", help="trainings whose mean is a trial's value")
    add_ray_arguments(parser)
    add_slurm_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="check all trials and print the plan")


def run(args: argparse.Namespace) -> int:
    """Checks all trials, runs those that have not ended, and writes the results.

    Returns:
      The exit status: 0, 1 if a trial failed, 75 if a signal stopped the sweep after a save.

    Raises:
      ConfigError: a sweep that does not exist, or a trial whose config is not valid.
      LockError: another controller runs this sweep.
      TrialRefusedError: a trial ended with an error of the user.
    """
    for option in ("jobs", "gpus_per_trial", "cpus_per_trial", "retries", "trials"):
        if getattr(args, option) < 0:
            raise ConfigError(f"--{option.replace('_', '-')}={getattr(args, option)}: expected a number of at least 0")
    if ":" in str(args.out):
        raise ConfigError(f"--out={args.out}: a colon separates a config file from its argument; choose another folder")
    check_output_folder(args.out)
    names = [name for name in args.sweep.split(",") if name]
    _check_search(args)
    check_ray_arguments(args)
    check_slurm_arguments(args)
    trials = [] if args.trials else resolve_trials(args.config, names, args.overrides)
    if args.dry_run:
        _print_plan(args.out, extended(read_plan(args.out), trials), {trial.id for trial in trials})
        return 0
    launcher = _make_launcher(args)
    with held_folder(args.out):
        earlier = read_plan(args.out)
        search = _open_search(args) if args.trials else None
        plan = extended(earlier, search.planned() if search else trials)
        write_plan(args.out, plan)
        if search is None:
            _print_changes(earlier, trials)
        sweep = Sweep(args.out, plan, frozenset(trial.id for trial in trials), train_command, args.retries, args.metric)
        status = run_sweep(sweep, launcher, ProgressLine(), search)
    print(args.out / CSV)
    print(args.out / PAGE)
    if status == EXIT_STOPPED:
        print("stopped by a signal; the trials have saved, and the same command continues", file=sys.stderr)
    return status


def resolve_trials(file: str, names: Sequence[str], overrides: Sequence[str]) -> list[Trial]:
    """Resolves and checks every trial of a sweep.

    Args:
      file: value of --config.
      names: of the sweeps whose product is taken; empty: the file's `sweep()` or `get_hyper(hyper)`.
      overrides: arguments of the form `--config.KEY=VALUE`, which apply to every trial.

    Returns:
      The trials, without repetitions.

    Raises:
      ConfigError: an invalid sweep or trial; the message names the trial.
    """
    module = read_config_module(file)
    with explained_errors(file):
        combinations = expand(module, names)
    labels = (f"trial {number} of {len(combinations)}" for number in range(1, len(combinations) + 1))
    return distinct(
        resolve_trial(file, changes, overrides, label) for changes, label in zip(combinations, labels, strict=True)
    )


def resolve_trial(file: str, changes: Mapping[str, Any], overrides: Sequence[str], label: str) -> Trial:
    """Resolves and checks one trial.

    Args:
      file: value of --config.
      changes: dotted key -> value.
      overrides: arguments of the form `--config.KEY=VALUE`.
      label: name of the trial in messages.

    Raises:
      ConfigError: an invalid trial.
    """
    try:
        _check_disjoint(changes, overrides)
        config = _resolved(file, changes, overrides)
        tree = dataclasses.asdict(config)
        if not is_self_contained(config):
            tree[REGISTERED_BY] = str(find_config_file(file.partition(":")[0]).absolute())
        return make_trial(changes, tree, with_defaults(config))
    except ConfigError as error:
        raise ConfigError(f"{label} ({_listed(changes)}): {error}") from error


def train_command(trial: Trial, folder: Path) -> list[str]:
    """Returns the command that trains a trial: from its resolved config, so that later edits of files do not matter."""
    arguments = ["train", f"--config={folder / TRIAL_CONFIG}", f"--workdir={folder}"]
    return [sys.executable, "-m", "svilm_jax.main", *arguments]


def _resolved(file: str, changes: Mapping[str, Any], overrides: Sequence[str]) -> Config:
    from svilm_jax.objectives.registry import build_objectives

    source, fields = split_argument(file, changes)
    config = read_config(source, overrides, fields)
    if not config.init.checkpoint:  # which replaces parts of the config that objectives depend on
        build_objectives(config.objectives, config)
    return config


def _make_launcher(args: argparse.Namespace) -> Launcher:
    if args.launcher == "ray":
        return make_ray_launcher(args)
    if args.launcher == "slurm":
        return make_slurm_launcher(args)
    return LocalLauncher(args.jobs, args.gpus_per_trial, visible_gpus() if args.gpus_per_trial else ())


def _check_search(args: argparse.Namespace) -> None:
    """Rejects options of a search that do not fit together."""
    if not args.trials:
        if args.metric or args.minimize or args.seeds != 1:
            raise ConfigError("--metric, --minimize and --seeds belong to a search: add --trials=N")
        return
    if args.sweep:
        raise ConfigError("--sweep and --trials exclude each other: a sweep has a plan, a search suggests its trials")
    if args.dry_run:
        raise ConfigError("--dry-run: the trials of a search are not known beforehand")
    if not args.metric:
        raise ConfigError("--trials: a search needs --metric=NAME, such as --metric=retrieval/t2v_R1")
    if args.seeds < 1:
        raise ConfigError(f"--seeds={args.seeds}: expected a number of at least 1")


def _open_search(args: argparse.Namespace) -> "OptunaSearch":
    from svilm_jax.sweeps.search import Options, OptunaSearch

    module = read_config_module(args.config)
    function, study = getattr(module, "search", None), getattr(module, "study", dict)
    if not callable(function):
        raise ConfigError(f"--config={args.config}: defines no function search(trial)")

    def suggest(trial: Any) -> Mapping[str, Any]:
        with explained_errors(args.config):
            return plain_changes(function(trial), "search(trial)")

    def make(changes: Mapping[str, Any]) -> Trial:
        return resolve_trial(args.config, changes, args.overrides, "a suggested trial")

    with explained_errors(args.config):
        parts = dict(study())
    if unknown := sorted(parts.keys() - {"sampler", "pruner"}):
        raise ConfigError(f"--config={args.config}: study() returns {', '.join(unknown)}; known: sampler, pruner")
    options = Options(args.trials, args.metric, not args.minimize, args.seeds, args.retries)
    return OptunaSearch(args.out, suggest, make, options, **parts)


def _check_disjoint(changes: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Rejects an override of a key that the sweep changes."""
    for override in parse_overrides(overrides):
        for key in changes:
            swept = f"config.{key}"
            if f"{swept}.".startswith(f"{override.name}.") or f"{override.name}.".startswith(f"{swept}."):
                raise ConfigError(f"--{override.name} overrides {swept}, which the sweep changes: remove one of them")


def _print_changes(earlier: Sequence[Trial], trials: Sequence[Trial]) -> None:
    """Prints what a changed sweep adds to an earlier plan, and what of the plan it does not run."""
    known, wanted = {trial.id for trial in earlier}, {trial.id for trial in trials}
    if not earlier or known == wanted:
        return
    if added := [_listed(trial.changes) for trial in trials if trial.id not in known]:
        more = "; ..." if len(added) > 5 else ""
        print(f"new in the plan ({len(added)}): {'; '.join(added[:5])}{more}", file=sys.stderr)
    if left := len(known - wanted):
        print(f"in the plan, but not in this sweep, and therefore not run: {left}", file=sys.stderr)


def _print_plan(folder: Path, plan: Sequence[Trial], wanted: set[str]) -> None:
    for trial in plan:
        state = read_history(folder / trial.id).state.value
        remark = "" if trial.id in wanted else " (not part of this sweep)"
        print(f"{trial.id}  {state:8} {_listed(trial.changes)}{remark}")
    print(f"{len(wanted)} trials", file=sys.stderr)


def _listed(changes: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value if isinstance(value, str) else quoted(value)}" for key, value in changes.items())
