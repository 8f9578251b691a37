"""Entry point of the `svilm` command: parser and dispatch of its subcommands."""

import argparse
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from svilm_jax.config.local_paths import require_local_arguments
from svilm_jax.error_boundary import discard_output, escape_unencodable, failure

MODEL = "a folder of `svilm export`, a --workdir of `svilm train`, or WORKDIR/checkpoints/STEP"
CONFIG = "a Python file with get_config(), or the name of a packaged config such as pretrain/demo"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    escape_unencodable(sys.stdout, sys.stderr)
    args = argparse.Namespace(command="", verbose=False)
    try:
        parser = _parser(argv)
        args, rest = parser.parse_known_args(argv)
        if rest and args.command not in ("train", "eval", "compile", "import"):
            parser.error(f"unknown arguments: {' '.join(rest)}")
        logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format="%(levelname)s %(message)s")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the runtime's chatter below warnings
        require_local_arguments(vars(args), also=("config", "dataset", "tokenizer"))
        status = args.run(args, rest) or 0
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk or a reader that has gone shows here, not after the last line of Python
        return status
    except (Exception, KeyboardInterrupt) as error:
        told = failure(error, args.command)
        if told is None:
            raise
        if args.verbose:
            traceback.print_exception(error)
        if told.message:
            print(f"svilm {args.command}".rstrip() + f": {told.message}", file=sys.stderr)
        discard_output(sys.stdout)
        return told.status


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="svilm",
        description="Structured video-language pre-training: where words are, and when scenes change.",
        epilog="first steps: svilm prepare moving_shapes --out runs/data, then svilm train --help",
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="log more: sharding table, resumption, FLOPs, tracebacks"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    config_help = (
        "--config.KEY=VALUE changes one key of the config, for example --config.train.steps=100; "
        "--config=FILE:KEY=VALUE passes arguments to its get_config"
    )

    def add(name: str, help: str, epilog: str, run: Callable[..., int | None]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", epilog=epilog)
        command.add_argument("-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        command.set_defaults(run=run)
        return command

    train = add(
        "train",
        "train from a config, evaluate, write WORKDIR/metrics.json",
        f"{config_help}. example: svilm train --config=configs/pretrain/demo.py --workdir=runs/demo",
        _train,
    )
    train.add_argument("--config", required=True, metavar="FILE[:ARG]", help=CONFIG)
    train.add_argument("--workdir", required=True, type=Path, help="folder for checkpoints, metrics and curves")
    hosts = train.add_argument_group(
        "several processes", "found out on TPU pods, under SLURM, on GKE and under Open MPI; elsewhere told by hand"
    )
    hosts.add_argument("--coordinator", default="", metavar="HOST:PORT", help="where process 0 listens")
    hosts.add_argument("--processes", type=int, default=0, metavar="N", help="how many there are")
    hosts.add_argument("--process", type=int, default=-1, metavar="I", help="which one this is, from 0")

    plan = add(
        "compile",
        "compile the train step for a TPU pod that is not here, and say what it needs",
        f"{config_help}. Exit status 1: it does not fit. example: svilm compile --config=configs/pretrain/svilm_b.py "
        "--topology=v5e:16x16 --mesh=fsdp --out=plan.json",
        _compile,
    )
    plan.add_argument("--config", required=True, metavar="FILE[:ARG]", help=CONFIG)
    plan.add_argument("--topology", required=True, metavar="TPU:SHAPE", help="such as v5e:16x16, v5p:4x4x4, v6e:16x16")
    plan.add_argument("--mesh", default="", metavar="PRESET[:N]", help="instead of config.mesh: fsdp, fsdp_seq:2, ...")
    plan.add_argument("--slices", type=int, default=1, metavar="N", help="so many such pods, over the slow network")
    plan.add_argument("--out", type=Path, metavar="FILE", help="also write the figures to this JSON file")

    evaluate = add(
        "eval",
        "run the evaluators of a trained model",
        f"{config_help}. example: svilm eval runs/demo --config.input.dataset=runs/data/moving_shapes",
        _eval,
    )
    evaluate.add_argument("workdir", type=Path, help=MODEL)
    evaluate.add_argument("--config", metavar="FILE[:ARG]", help="take evaluators and dataset from here instead")
    evaluate.add_argument("--out", type=Path, help="also write the metrics to this JSON file")

    embed = add(
        "embed",
        "embed video files for search, or the windows of a dataset for localisation",
        "a run that was stopped goes on. examples: svilm embed VIDEOS --model runs/demo --out features.parquet; "
        "svilm embed --model runs/demo --dataset runs/data/moving_shapes --split untrimmed_train --window 1 "
        "--stride 0.25 --out runs/features/train",
        _embed,
    )
    embed.add_argument("videos", nargs="*", type=Path, metavar="VIDEO", help="files, or folders with files anywhere in")
    embed.add_argument("--model", type=Path, required=True, help=MODEL)
    embed.add_argument("--out", type=Path, required=True, help="*.parquet for files; a folder for windows of a dataset")
    embed.add_argument("--window", type=float, metavar="S", help="seconds that are seen at once (files: all of them)")
    embed.add_argument("--stride", type=float, metavar="S", help="seconds between windows (default: --window)")
    embed.add_argument("--split", default="", help="of a dataset, instead of files: a split or view of it")
    embed.add_argument("--dataset", default="", metavar="DIR", help="a prepared dataset (default: that of training)")
    embed.add_argument("--offset", type=float, metavar="S", help="start of the first window (default: 0)")
    embed.add_argument(
        "--pool",
        choices=("clip", "time"),
        help="a window of a dataset is the mean over all its tokens, or its time indices side by side (default: clip)",
    )
    embed.add_argument("--prune", action="store_true", help="remove rows of files that are there, but not named")
    embed.add_argument("--random", action="store_true", help="fresh parameters instead of the trained ones: a baseline")

    bring = add(
        "import",
        "start a model from public towers: BERT, ViT, VideoMAE, ViViT",
        f"{config_help}. example: svilm import --text all-MiniLM-L6-v2 --config=configs/pretrain/demo.py "
        "--out runs/minilm",
        _import,
    )
    bring.add_argument("--text", type=Path, metavar="DIR", help="a BERT of Hugging Face, with its vocabulary")
    bring.add_argument(
        "--video",
        type=Path,
        metavar="PATH",
        help="a ViT, VideoMAE or ViViT of Hugging Face (DIR), a ViT of big_vision (*.npz), a ViViT of scenic (FILE)",
    )
    bring.add_argument("--config", required=True, metavar="FILE[:ARG]", help="says all that the towers leave open")
    bring.add_argument("--out", type=Path, required=True, metavar="DIR", help="for config.init.checkpoint")
    bring.add_argument(
        "--inflate",
        choices=("centre", "mean"),
        help="an image patch becomes a tubelet: in its middle frame alone, or spread over all (default: centre)",
    )
    bring.add_argument(
        "--class-token",
        choices=("dropped", "group"),
        help="leave it out, or start the first group token from it (default: dropped)",
    )
    bring.add_argument("--license", default="", help="of the weights, for the model card, such as apache-2.0")

    export = add(
        "export",
        "write a trained model as a folder that needs nothing of training",
        "example: svilm export runs/demo --out demo_model --license apache-2.0 --stablehlo",
        _export,
    )
    export.add_argument("workdir", type=Path, help=MODEL)
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="must not hold anything yet")
    export.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="default: float32")
    export.add_argument("--license", default="", help="of the parameters, for the model card, such as apache-2.0")
    export.add_argument("--data", default="", help="what it was trained on, for the card (default: the dataset's path)")
    export.add_argument("--stablehlo", action="store_true", help="also programs that run from jax and numpy alone")
    export.add_argument("--onnx", action="store_true", help="also for onnxruntime; needs requirements/onnx.in")
    export.add_argument("--saved-model", action="store_true", help="also for TensorFlow, with the extra `tf`")

    prepare = add("prepare", "turn raw videos and annotations into a dataset", "", _prepare)
    inspect = add("inspect", "say what a prepared dataset holds, with a contact sheet", "", _inspect)
    score = add("score", "hold anybody's predictions against a published ground truth", "", _score)
    search = add("search", "find the clips that a sentence tells", "", _search)
    serve = add("serve", "serve a page to search clips and see phrases in them", "", _serve)
    # What these take is defined beside what they do, and only imported when asked for.
    for name, command, module in (
        ("prepare", prepare, "svilm_data.command"),
        ("inspect", inspect, "svilm_jax.report.inspection"),
        ("score", score, "svilm_jax.evaluation.scoring"),
        ("search", search, "svilm_jax.inference.search_command"),
        ("serve", serve, "svilm_jax.serving.command"),
    ):
        if name in argv:
            importlib.import_module(module).add_arguments(command)

    report = add("report", "write WORKDIR/report.html", "example: svilm report runs/demo", _report)
    report.add_argument("workdir", type=Path, help="a --workdir of `svilm train`")
    return parser


def _train(args: argparse.Namespace, rest: list[str]) -> int | None:
    from svilm_jax.commands import train

    return train(args.config, rest, args.workdir, args.coordinator, args.processes, args.process)


def _compile(args: argparse.Namespace, rest: list[str]) -> int | None:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # no accelerator is looked for: the one that is meant is elsewhere
    from svilm_jax.commands import compile_step
    from svilm_jax.output_paths import check_output_file

    check_output_file(args.out)
    return compile_step(args.config, rest, args.topology, args.mesh, args.slices, args.out)


def _eval(args: argparse.Namespace, rest: list[str]) -> int | None:
    from svilm_jax.commands import evaluate
    from svilm_jax.output_paths import check_output_file

    check_output_file(args.out)
    return evaluate(args.workdir, args.config, rest, args.out)


def _embed(args: argparse.Namespace, rest: list[str]) -> int | None:
    from svilm_jax.model_commands import embed

    return embed(args)


def _import(args: argparse.Namespace, rest: list[str]) -> int | None:
    from svilm_jax.model_commands import import_weights

    return import_weights(args, rest)


def _export(args: argparse.Namespace, rest: list[str]) -> int | None:
    from svilm_jax.model_commands import export

    return export(args)


def _search(args: argparse.Namespace, rest: list[str]) -> int | None:
    from svilm_jax import load
    from svilm_jax.inference import search_command

    search_command.run(args, load)
    return None


def _serve(args: argparse.Namespace, rest: list[str]) -> int | None:
    from svilm_jax import load
    from svilm_jax.serving import command

    command.run(args, load)
    return None


def _prepare(args: argparse.Namespace, rest: list[str]) -> int | None:
    from svilm_data import command

    command.run(args)
    return None


def _inspect(args: argparse.Namespace, rest: list[str]) -> int | None:
    import svilm_jax.report.inspection as inspection

    inspection.run(args)
    return None


def _score(args: argparse.Namespace, rest: list[str]) -> int | None:
    from svilm_jax.evaluation import scoring

    scoring.run(args)
    return None


def _report(args: argparse.Namespace, rest: list[str]) -> int | None:
    from svilm_jax.commands import report

    return report(args.workdir)


if __name__ == "__main__":
    sys.exit(main())
