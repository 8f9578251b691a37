"""Options of `svilm sweep --launcher=slurm`."""

import argparse

from svilm_jax.config import ConfigError
from svilm_jax.sweeps.launchers.slurm import SlurmLauncher

# Options of `sbatch` that have an option of their own here.
_COMMON = {
    "partition": ("NAME", "partition of the jobs"),
    "time": ("TIME", "time limit of a job, such as 8:00:00; it saves two minutes before, and is requeued"),
    "gpus-per-task": ("N", "GPUs of each task of a trial"),
    "cpus-per-task": ("N", "CPU cores of each task of a trial"),
    "mem": ("SIZE", "memory of a trial on each node, such as 64G"),
}


def add_slurm_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options to the parser of `svilm sweep`."""
    group = parser.add_argument_group("SLURM", "with --launcher=slurm")
    for name, (kind, text) in _COMMON.items():
        group.add_argument(f"--{name}", metavar=kind, help=text)
    group.add_argument("--array-size", type=int, metavar="N", help="trials of a job array; default: the limit of SLURM")
    group.add_argument(
        "--slurm",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other option of sbatch, such as account=NAME; may be repeated",
    )


def check_slurm_arguments(args: argparse.Namespace) -> None:
    """Rejects options that do not fit the launcher.

    Raises:
      ConfigError: an option of another launcher, or one that is not of the form KEY=VALUE.
    """
    given = [name for name in (*_COMMON, "array-size", "slurm") if getattr(args, name.replace("-", "_"))]
    if args.launcher != "slurm":
        if given:
            raise ConfigError(f"--{given[0]} belongs to --launcher=slurm: add it, or remove the option")
        return
    if args.gpus_per_trial:
        raise ConfigError("--gpus-per-trial belongs to --launcher=local; with slurm, use --gpus-per-task")
    if args.trials and not args.jobs:
        raise ConfigError("--trials: a search with --launcher=slurm needs --jobs=N, the trials in the queue at once")
    if args.array_size is not None and args.array_size < 1:
        raise ConfigError(f"--array-size={args.array_size}: expected a number of at least 1")
    sbatch_options(args)


def sbatch_options(args: argparse.Namespace) -> dict[str, str]:
    """Returns the options of `sbatch`: long names without dashes -> value, "" if there is none."""
    options = {name: value for name in _COMMON if (value := getattr(args, name.replace("-", "_")))}
    for text in args.slurm:
        key, _, value = text.partition("=")
        if not key or key.startswith("-"):
            raise ConfigError(f"--slurm {text}: expected KEY=VALUE, a long option of sbatch without its dashes")
        if key in options:
            raise ConfigError(f"--slurm {text}: {key} is given twice; remove one of them")
        options[key] = value
    return options


def make_slurm_launcher(args: argparse.Namespace) -> SlurmLauncher:
    """Returns the launcher.

    Raises:
      ConfigError: an option that the launcher sets itself.
      SlurmError: SLURM is not installed here, or does not answer.
    """
    return SlurmLauncher(args.out, sbatch_options(args), args.jobs, args.array_size or 0)
