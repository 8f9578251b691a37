"""Entry point of the `svilm` command: a table of subcommands, each imported only when it is the one that runs."""

import argparse
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType

from svilm_jax.cli.error_boundary import discard_output, escape_unencodable, failure
from svilm_jax.config.local_paths import require_local_arguments

# Subcommand -> (module below `svilm_jax.cli`, one-line help). A module has `add_arguments(parser)` and `run(args)`, and
# `OVERRIDES = True` if the command takes `--config.KEY=VALUE`, which `run` finds in `args.overrides`.
COMMANDS = {
    "prepare": ("prepare", "convert raw videos and annotations into a dataset"),
    "inspect": ("inspect", "summarize a prepared dataset and draw a contact sheet"),
    "config": ("config", "print the resolved config of a file, with the source of every value"),
    "train": ("train", "train from a config, evaluate, and write WORKDIR/metrics.json"),
    "sweep": ("sweep", "train the trials of a sweep, side by side or one after another, and compare them"),
    "status": ("status", "print the progress of runs and sweeps: rate, time left, metrics, alive or not"),
    "launch": ("launch", "print the file with which SkyPilot, Kubernetes or SLURM runs a training on a cluster"),
    "eval": ("evaluate", "run evaluators on a trained model"),
    "report": ("report", "write WORKDIR/report.html"),
    "compile": ("compile_step", "compile the train step ahead of time for a TPU topology, without hardware"),
    "import": ("import_weights", "initialize a model from public weights: BERT, ViT, VideoMAE, ViViT"),
    "export": ("export", "write a trained model as a self-contained directory"),
    "embed": ("embed", "embed video files into an index for `svilm search`"),
    "extract-features": ("extract_features", "extract sliding-window features of a prepared dataset"),
    "search": ("search", "search an index of video embeddings with a text query"),
    "serve": ("serve", "serve a web page for text-to-video search and phrase grounding"),
    "score": ("score", "score prediction files against official annotations"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      argv: arguments after the program's name; None: those of the process.

    Returns:
      The exit status: 0 on success, 2 for an error of the user, others as documented by each command.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    escape_unencodable(sys.stdout, sys.stderr)
    args = argparse.Namespace(command="", verbose=False)
    try:
        parser, chosen = _parser(argv)
        args, rest = parser.parse_known_args(argv)
        if rest and not getattr(chosen, "OVERRIDES", False):
            parser.error(f"unknown arguments: {' '.join(rest)}")
        args.overrides = rest
        logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format="%(levelname)s %(message)s")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # hides the runtime's informational messages
        require_local_arguments(vars(args), also=("config", "dataset", "tokenizer"))
        assert chosen is not None  # the parser requires a command
        status = chosen.run(args) or 0
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk or a closed pipe is reported here, not after the last line of Python
        return status
    except (Exception, KeyboardInterrupt) as error:
        reported = failure(error, args.command)
        if reported is None:
            raise
        if args.verbose:
            traceback.print_exception(error)
        if reported.message:
            print(f"svilm {args.command}".rstrip() + f": {reported.message}", file=sys.stderr)
        discard_output(sys.stdout)
        return reported.status


def _parser(argv: Sequence[str]) -> tuple[argparse.ArgumentParser, ModuleType | None]:
    """Returns the parser and the module of the command in `argv`, the only one whose arguments it knows."""
    parser = argparse.ArgumentParser(
        prog="svilm",
        description="Structured video-language pre-training with spatial grounding and temporal grouping.",
        epilog="first steps: svilm prepare moving_shapes --out runs/data, then svilm train --help",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="verbose logging and full tracebacks")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    named = next((argument for argument in argv if not argument.startswith("-")), "")
    chosen = None
    for name, (module, help) in COMMANDS.items():
        command = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        command.add_argument("-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        if name == named:
            chosen = importlib.import_module(f"svilm_jax.cli.{module}")
            chosen.add_arguments(command)
    return parser, chosen


if __name__ == "__main__":
    sys.exit(main())
