"""Which dataset shall be prepared? The `svilm prepare` command."""

import argparse

from .preparation import Settings, add_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One sub-command a dataset."""
    datasets = parser.add_subparsers(dest="dataset", required=True, metavar="DATASET")
    shapes = datasets.add_parser(
        "moving_shapes",
        help="the embedded default: rendered, encoded and annotated here",
        epilog="example: svilm prepare moving_shapes --out runs/data",
    )
    add_settings(shapes)
    shapes.add_argument("--seed", type=int, default=0, help="of the world (default 0)")
    shapes.add_argument(
        "--keep-raw", action="store_true", help="keep the mp4 and annotation files, OUT/moving_shapes_raw"
    )
    shapes.set_defaults(prepare=_moving_shapes)


def run(args: argparse.Namespace) -> None:
    """Prepares what the arguments name.

    Raises:
      PreparationError: a user's mistake.
    """
    args.prepare(args)


def _moving_shapes(args: argparse.Namespace) -> None:
    from .moving_shapes import prepare

    settings = Settings(workers=args.workers, overwrite=args.overwrite, vocab=args.vocab)
    prepare(args.out, seed=args.seed, keep_raw=args.keep_raw, settings=settings)
