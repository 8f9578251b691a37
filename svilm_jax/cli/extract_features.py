"""The `svilm extract-features` command: sliding-window features of a prepared dataset, for localization."""

import argparse
from pathlib import Path

from svilm_jax.checkpoints import load
from svilm_jax.cli.arguments import MODEL, add_checkpoint, checkpoint_path
from svilm_jax.config.constraints import Range, check_number
from svilm_jax.filesystem.output_paths import check_output_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `svilm extract-features`."""
    parser.epilog = (
        "An interrupted run resumes with the same command. example: svilm extract-features --model runs/demo "
        "--dataset runs/data/moving_shapes --split untrimmed_train --window 1.25 --stride 0.25 "
        "--out runs/features/train"
    )
    parser.add_argument("--model", type=Path, required=True, help=MODEL)
    add_checkpoint(parser)
    parser.add_argument("--dataset", default="", metavar="DIR", help="prepared dataset (default: that of training)")
    parser.add_argument("--split", required=True, help="split or view of the dataset, such as validation")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="output folder, for config.model.localization"
    )
    parser.add_argument("--window", type=float, required=True, metavar="S", help="seconds per feature")
    parser.add_argument("--stride", type=float, metavar="S", help="seconds between windows (default: --window)")
    parser.add_argument("--offset", type=float, default=0.0, metavar="S", help="start of the first window (default: 0)")
    parser.add_argument(
        "--pool",
        choices=("clip", "time"),
        default="clip",
        help="mean over all video tokens, or the concatenated temporal indices (default: clip)",
    )
    parser.add_argument(
        "--random", action="store_true", help="baseline: randomly initialized parameters instead of the trained ones"
    )


def run(args: argparse.Namespace) -> None:
    """Extracts the features of one split and writes them with their index."""
    for name in ("window", "stride"):
        if (seconds := getattr(args, name)) is not None:
            check_number(f"--{name}", seconds, Range(0, 1e6, low_included=False))
    check_number("--offset", args.offset, Range(0, 1e6))
    check_output_folder(args.out)
    # Imported here: reading datasets needs packages that an environment for export lacks (requirements/onnx.in).
    from svilm_jax.evaluation.localization.window_features import Windows, extract_features
    from svilm_jax.inference.encoder import Encoder
    from svilm_jax.input.labels import read_classes
    from svilm_jax.models.parameters import fingerprint, parameters
    from svilm_jax.models.svilm import Model, build_model

    trained = load(checkpoint_path(args.model, args.checkpoint))
    model: Model = trained.model
    origin = f"{args.model.name} step {trained.step}"
    if args.random:
        model = build_model(trained.config, trained.tokenizer.vocab_size, trained.config.train.seed + 1)
        origin = f"random initialization of the config of {args.model.name}"
    origin += f", {fingerprint(parameters(model))}"  # two runs may share a name and a number of steps
    dataset = args.dataset or trained.config.input.dataset
    labels = read_classes(dataset, "action_recognition")
    windows = Windows(args.window, args.window if args.stride is None else args.stride, args.offset)
    encoder = Encoder(model, trained.config, trained.tokenizer)
    index = extract_features(encoder, dataset, args.split, labels, windows, args.out, origin, args.pool)
    print(f"{args.out}: {len(index.videos)} videos, feature dimension {index.width}")
