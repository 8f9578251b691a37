"""The `svilm status` command: prints how far runs are, how fast, what they measured, and whether they are alive."""

import argparse
import dataclasses
import json
import sys
import time

from svilm_jax.cli.error_boundary import EXIT_USER
from svilm_jax.config.constraints import Range, check_number
from svilm_jax.monitoring.found_runs import find_runs
from svilm_jax.monitoring.run_status import read_status
from svilm_jax.monitoring.status_table import format_status

_CLEAR = "\x1b[H\x1b[2J"  # cursor to the top, then clear the screen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `svilm status`."""
    parser.epilog = "example: svilm status runs/demo runs/ablation --watch 10"
    parser.add_argument(
        "workdirs",
        nargs="+",
        metavar="WORKDIR",
        help="--workdir of `svilm train`, --out of `svilm sweep` for all its trials, or a pattern such as 'runs/*'",
    )
    parser.add_argument("--metric", default="", metavar="NAME", help="metric of the evaluation (default: the first)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per run, with every metric")
    parser.add_argument(
        "--watch", type=float, default=None, metavar="SECONDS", help="print again after this time, until Ctrl-C"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the table, and a line on stderr for each argument without runs.

    Returns:
      The exit status: 0, 2 if an argument names no run.
    """
    if args.watch is None:
        return _print(args)
    check_number("--watch", args.watch, Range(0.1, 86_400))
    status = 0
    try:
        while True:
            if sys.stdout.isatty() and not args.json:
                print(_CLEAR, end="")
            status = _print(args)
            sys.stdout.flush()
            time.sleep(args.watch)
    except KeyboardInterrupt:  # how one ends watching
        return status


def _print(args: argparse.Namespace) -> int:
    found, problems = find_runs(args.workdirs)
    runs = [read_status(run.workdir, run.changes, run.pruned) for run in found]
    if args.json:
        for status in runs:
            print(json.dumps(dataclasses.asdict(status)))
    elif runs:
        print(format_status(runs, args.metric))
    for problem in problems:
        print(f"svilm status: {problem}", file=sys.stderr)
    return EXIT_USER if problems else 0
