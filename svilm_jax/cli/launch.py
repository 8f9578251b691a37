"""The `svilm launch` command: prints the file with which a scheduler runs a training, or a sweep, on its cluster."""

import argparse
import dataclasses
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from svilm_jax.cli.arguments import CONFIG
from svilm_jax.cli.arguments import OVERRIDES as OVERRIDES_HELP
from svilm_jax.cli.config_file import CONFIG_MODULE, REGISTERED_BY, foreign_modules, read_config
from svilm_jax.cli.sweep import resolve_trials
from svilm_jax.config import Config, ConfigError, resolve
from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.filesystem.output_paths import check_output_folder
from svilm_jax.launch import jobset, skypilot, slurm
from svilm_jax.launch.hardware import EXPECTED, Hardware, parse_hardware
from svilm_jax.launch.run import Run, Settings, check_config

OVERRIDES = True
SCHEDULERS = {"skypilot": skypilot, "jobset": jobset, "slurm": slurm}
_PLAIN_PATH = re.compile(r"[\w./:@%+=,~-]+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `svilm launch`."""
    parser.epilog = (
        f"{OVERRIDES_HELP}. Nothing is submitted: that is done by `sky jobs launch FILE`, `kubectl apply -f FILE` or "
        "`sbatch FILE`. example: svilm launch --config=pretrain/svilm_b --scheduler=jobset --accelerator=v5p-128 "
        "--image=IMAGE --workdir=gs://BUCKET/svilm_b > svilm_b.yaml"
    )
    parser.add_argument("--config", required=True, metavar="FILE[:ARG]", help=CONFIG)
    parser.add_argument("--scheduler", required=True, choices=tuple(SCHEDULERS), help="for which the file is")
    parser.add_argument("--accelerator", required=True, metavar="NAME", help=EXPECTED.removeprefix("expected "))
    parser.add_argument(
        "--workdir", required=True, metavar="PATH", help="of the run, or of all trials; may be gs://..."
    )
    parser.add_argument(
        "--sweep",
        nargs="?",
        const="",
        metavar="NAME[,NAME...]",
        help="one run per trial, as in `svilm sweep`; without names: the file's sweep() or get_hyper(hyper)",
    )
    parser.add_argument("--nodes", type=int, default=0, metavar="N", help="machines with GPUs (1)")
    parser.add_argument("--slices", type=int, default=0, metavar="N", help="TPU slices, connected by DCN (1)")
    parser.add_argument("--name", default="", help="of the job; default: from the name of the config")
    parser.add_argument("--image", default="", help="container image with svilm_jax; skypilot and jobset")
    parser.add_argument("--setup", default="", metavar="COMMAND", help="prepares a machine; skypilot and slurm")
    parser.add_argument("--cpus", type=int, default=0, metavar="N", help="cores per machine; default: as the scheduler")
    parser.add_argument("--volume", action="append", default=[], metavar="NAME:/PATH", help="volume to mount")
    parser.add_argument("--node-selector", action="append", default=[], metavar="KEY=VALUE", help="jobset only")
    parser.add_argument("--sbatch", action="append", default=[], metavar="OPTION", help="such as --partition=gpu")
    parser.add_argument("--grace-seconds", type=int, default=300, metavar="N", help="from SIGTERM to SIGKILL (300)")
    parser.add_argument("--max-restarts", type=int, default=3, metavar="N", help="after failures (3)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--print", action="store_true", help="print the file; this is the default")
    where.add_argument("--out", type=Path, metavar="DIR", help="write a file per run, and print how to submit each")


def run(args: argparse.Namespace) -> None:
    """Checks the config against the accelerators and prints the file.

    Raises:
      ConfigError: a config, a trial or an option that does not fit the accelerators or the scheduler.
    """
    hardware = parse_hardware(args.accelerator, _count(args, "nodes"), _count(args, "slices"))
    settings = Settings(
        hardware=hardware,
        image=args.image,
        setup=args.setup,
        cpus=_count(args, "cpus"),
        grace_seconds=_count(args, "grace_seconds"),
        max_restarts=_count(args, "max_restarts"),
        volumes={path: name for name, path in _pairs(args.volume, "volume", ":", "NAME:/PATH")},
        node_selector=dict(_pairs(args.node_selector, "node-selector", "=", "KEY=VALUE")),
        directives=tuple(args.sbatch),
    )
    if args.out is not None:
        check_output_folder(args.out)
    if not _PLAIN_PATH.fullmatch(args.workdir):
        raise ConfigError(f"--workdir={args.workdir}: expected a path or URL without spaces, quotes and $")
    name = args.name or _name_of(args.config)
    runs = list(_runs(args, name, hardware))
    for file, text in _files(args, name, runs, settings):
        if args.out is None:
            print(text, end="")
            continue
        args.out.mkdir(parents=True, exist_ok=True)
        with atomic_write(args.out / file) as temporary:
            temporary.write_text(text)
        print(_submit(args.scheduler, shlex.quote(str(args.out / file))))
    if args.out is None:
        print(f"svilm launch submits nothing; submit this by `{_submit(args.scheduler, 'FILE')}`", file=sys.stderr)


def _runs(args: argparse.Namespace, name: str, hardware: Hardware) -> Iterator[Run]:
    """Yields the run, or those of all trials, after a check of each."""
    if args.sweep is None:
        config = read_config(args.config, args.overrides)
        yield _checked(Run(name, args.workdir, dataclasses.asdict(config)), config, hardware)
        return
    for trial in resolve_trials(args.config, [name for name in args.sweep.split(",") if name], args.overrides):
        tree = {key: value for key, value in trial.config.items() if key != REGISTERED_BY}
        one = Run(f"{name}-{trial.id}", f"{args.workdir.rstrip('/')}/{trial.id}", tree)
        try:
            yield _checked(one, resolve(tree), hardware)
        except ConfigError as error:
            raise ConfigError(f"trial {trial.id} {dict(trial.changes)}: {error}") from error


def _checked(run: Run, config: Config, hardware: Hardware) -> Run:
    if CONFIG_MODULE in foreign_modules(config):
        raise ConfigError(
            "the config file registers objectives or evaluators, which other machines would lack: move them into an "
            "installed package with an entry point of the group svilm_jax.plugins"
        )
    check_config(config, hardware)
    return run


def _files(args: argparse.Namespace, name: str, runs: Sequence[Run], settings: Settings) -> Iterator[tuple[str, str]]:
    """Yields the name and the contents of each file: one for all runs if they are printed, or if it is an array."""
    comments = _comments(args, settings.hardware)
    if args.scheduler == "slurm":
        yield f"{name}.sbatch", slurm.render(runs, settings, comments, name)
        return
    render: Callable[[Sequence[Run], Settings, Sequence[str]], str] = SCHEDULERS[args.scheduler].render
    for group in [runs] if args.out is None else [[run] for run in runs]:
        yield f"{group[0].name}.yaml", render(group, settings, comments)


def _comments(args: argparse.Namespace, hardware: Hardware) -> list[str]:
    source = shlex.join([f"--config={args.config}", *args.overrides]).replace("\n", " ")
    sweep = "" if args.sweep is None else f" --sweep={args.sweep}"
    lines = [f"Written by svilm launch from {source}{sweep}", f"Submit: {_submit(args.scheduler, 'THIS_FILE')}"]
    lines.append(f"Devices: {hardware}")
    if hardware.topology:
        slices = f" --slices={hardware.slices}" if hardware.slices > 1 else ""
        target = f"--topology={hardware.name.partition('-')[0]}:{hardware.topology}{slices}"
        lines.append(f"Memory: svilm compile {source} {target}")
    return lines


def _submit(scheduler: str, file: str) -> str:
    return SCHEDULERS[scheduler].SUBMIT.replace("FILE", file)


def _name_of(config: str) -> str:
    """Returns a job name made of the name of a config: `pretrain-svilm-b` for pretrain/svilm_b."""
    name = config.partition(":")[0].removesuffix(".py").removesuffix(".json").removeprefix("configs/")
    return re.sub(r"[^a-z0-9]+", "-", "-".join(Path(name).parts[-2:]).lower()).strip("-")


def _count(args: argparse.Namespace, option: str) -> int:
    value: int = getattr(args, option)
    if value < 0:
        raise ConfigError(f"--{option.replace('_', '-')}={value}: expected a number of at least 0")
    return value


def _pairs(values: Sequence[str], option: str, separator: str, expected: str) -> Iterator[tuple[str, str]]:
    for value in values:
        first, found, second = value.partition(separator)
        if not (first and found and second) or (expected.endswith("/PATH") and not second.startswith("/")):
            raise ConfigError(f"--{option}={value}: expected {expected}")
        yield first, second
