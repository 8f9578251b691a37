"""The `svilm export` command: writes a trained model as a self-contained directory, and programs of its towers."""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from svilm_jax.checkpoints import load
from svilm_jax.checkpoints.model_directory import (
    ModelOrigin,
    check_free,
    is_model_directory,
    read_origin,
    write_model_directory,
)
from svilm_jax.cli.arguments import MODEL, add_checkpoint, checkpoint_path
from svilm_jax.config import ConfigError
from svilm_jax.evaluation import format_table
from svilm_jax.evaluation.metric import scalars
from svilm_jax.evaluation.metrics_file import from_document, read_metrics, to_document
from svilm_jax.filesystem.locks import locked_output
from svilm_jax.filesystem.output_paths import check_output_folder
from svilm_jax.inference import TrainedModel
from svilm_jax.interop.exporters.model_card import model_card
from svilm_jax.interop.exporters.precision import rounding_error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `svilm export`."""
    parser.epilog = "example: svilm export runs/demo --out demo_model --license apache-2.0 --stablehlo"
    parser.add_argument("workdir", type=Path, help=MODEL)
    add_checkpoint(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output directory, new or empty")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="float32", help="dtype of the parameters (default: float32)"
    )
    parser.add_argument(
        "--license", default="", help="license of the parameters for the model card, such as apache-2.0"
    )
    parser.add_argument(
        "--data", default="", help="training data named in the model card (default: name of the dataset)"
    )
    parser.add_argument("--stablehlo", action="store_true", help="also StableHLO programs, run by jax and numpy alone")
    parser.add_argument("--onnx", action="store_true", help="also ONNX programs; needs requirements/onnx.in")
    parser.add_argument("--saved-model", action="store_true", help="also a TensorFlow SavedModel; needs the extra `tf`")


def run(args: argparse.Namespace) -> None:
    """Writes parameters, config, tokenizer, model card and the requested programs."""
    if args.dtype != "float32" and (args.onnx or args.saved_model):
        raise ConfigError(f"--dtype={args.dtype}: ONNX and SavedModel are written in float32 only; export twice")
    check_output_folder(args.out)
    check_free(args.out)
    with locked_output(args.out):
        _export(args)


def _export(args: argparse.Namespace) -> None:
    trained = load(checkpoint_path(args.workdir, args.checkpoint))
    origin, notes = _origin(args, trained), []
    if args.dtype != "float32":
        error = rounding_error(trained, args.dtype)
        notes.append(
            f"Rounded to {args.dtype}: on random inputs, the maximum absolute embedding error is {error.largest:.1e} "
            f"and the lowest cosine to the unrounded embedding is {error.cosine:.6f}."
        )
        if args.stablehlo:
            notes.append(f"The StableHLO programs also compute in {args.dtype}, which adds a larger error.")
    metrics = format_table(from_document(origin.metrics)) if origin.metrics else ""
    card = model_card(args.out.name, trained.config, origin, metrics, args.dtype, notes, len(trained.fresh))
    # Programs first: if they fail (a missing library, a model too large), nothing is half written.
    with tempfile.TemporaryDirectory(dir=args.out.absolute().parent, prefix=f".{args.out.name}.") as staging:
        lines = list(_programs(args, trained, Path(staging)))
        write_model_directory(args.out, trained, origin, card, args.dtype)
        for made in sorted(Path(staging).iterdir()):
            made.rename(args.out / made.name)
    for line in (*notes, *lines):
        print(line)
    if trained.warning:
        print(f"{args.out}: {trained.warning}", file=sys.stderr)
    print(f'{args.out}: svilm_jax.load("{args.out}")')


def _programs(args: argparse.Namespace, trained: TrainedModel, staging: Path) -> Iterator[str]:
    """Writes the requested programs; yields a line about each."""
    if args.stablehlo:
        from svilm_jax.interop.exporters.stablehlo import export_stablehlo

        for file in export_stablehlo(trained, staging / "stablehlo", args.dtype):
            if file.suffix == ".stablehlo":
                yield f"{args.out / file.relative_to(staging)}: {file.stat().st_size / 2**20:.1f} MiB"
    if args.onnx:
        from svilm_jax.interop.exporters.onnx import export_onnx

        for name, difference in export_onnx(trained, staging / "onnx").items():
            yield f"{args.out / 'onnx' / name}: maximum absolute difference of onnxruntime {difference:.1e}"
    if args.saved_model:
        from svilm_jax.interop.exporters.saved_model import export_saved_model

        for name, difference in export_saved_model(trained, staging / "saved_model").items():
            yield f"{args.out / 'saved_model'}: maximum absolute difference of signature {name} {difference:.1e}"


def _origin(args: argparse.Namespace, trained: TrainedModel) -> ModelOrigin:
    """Returns the origin that a model directory or a run records, with the values of the flags taking precedence."""
    if is_model_directory(args.workdir):
        origin = read_origin(args.workdir)
    else:
        source = f"step {trained.step} of {args.workdir.name}"
        data = Path(trained.config.input.dataset).name  # a full path would reveal the layout of this machine
        metrics = read_metrics(args.workdir / "metrics.json")
        numbers = scalars(metrics)
        measured_at = numbers.get("train/best_step", numbers.get("train/steps", trained.step))
        document = to_document(metrics) if metrics and measured_at == trained.step else {}
        origin = ModelOrigin(source, "", data, document)
    changes = {"license": args.license, "data": args.data}
    return dataclasses.replace(origin, **{key: value for key, value in changes.items() if value})
