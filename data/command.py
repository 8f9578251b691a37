"""Which dataset shall be prepared? The `svilm prepare` command."""

import argparse
from pathlib import Path

from .preparation import describe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One sub-command a dataset."""
    datasets = parser.add_subparsers(dest="dataset", required=True, metavar="DATASET")
    shapes = datasets.add_parser(
        "moving_shapes",
        help="the embedded default: rendered, encoded and annotated here",
        description="Renders clips of moving shapes, encodes them as mp4 files with annotations in "
        "OUT/moving_shapes_raw, and prepares OUT/moving_shapes from those.",
        epilog="example: svilm prepare moving_shapes --out runs/data",
    )
    _common(shapes)
    shapes.add_argument("--seed", type=int, default=0, help="of the world (default: 0)")
    shapes.set_defaults(prepare=_moving_shapes)


def run(args: argparse.Namespace) -> None:
    """Prepares what the arguments name.

    Raises:
      PreparationError: a user's mistake.
    """
    print(describe(args.prepare(args)))


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="receives a folder named as the dataset")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: 2)")
    parser.add_argument("--overwrite", action="store_true", help="prepare again what is already prepared")
    parser.add_argument("--vocab", type=Path, metavar="FILE", help="a vocab.txt to use instead of learning one")


def _moving_shapes(args: argparse.Namespace) -> Path:
    from .moving_shapes import prepare

    return prepare(args.out, seed=args.seed, workers=args.workers, overwrite=args.overwrite, vocab=args.vocab)
