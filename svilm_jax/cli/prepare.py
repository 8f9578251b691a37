"""The `svilm prepare` command."""

import argparse
import functools
import sqlite3
from pathlib import Path

from svilm_data.annotations.published_dataset import add_dataset_arguments, prepare_dataset
from svilm_data.annotations.registry import published_datasets
from svilm_data.pipeline.beam import beam_of
from svilm_data.pipeline.errors import FULL_DISK, PreparationError, is_full_disk
from svilm_data.pipeline.preparation import describe

from svilm_jax.filesystem.output_paths import check_output_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds one subcommand per dataset."""
    datasets = parser.add_subparsers(dest="dataset", required=True, metavar="DATASET")
    shapes = datasets.add_parser(
        "moving_shapes",
        help="the embedded default: rendered, encoded and annotated here",
        description="Renders clips of moving shapes, encodes them as mp4 files with annotations in "
        "OUT/moving_shapes_raw, and prepares OUT/moving_shapes from those.",
        epilog="example: svilm prepare moving_shapes --out runs/data",
    )
    _common(shapes)
    shapes.add_argument("--seed", type=int, default=0, help="random seed of the scenes (default: 0)")
    shapes.add_argument(
        "--size",
        action="append",
        default=[],
        metavar="SPLIT=N",
        help="render only the named splits, N clips each; may be repeated (default: docs/data/moving_shapes.md)",
    )
    shapes.set_defaults(prepare=_moving_shapes)

    captioned = datasets.add_parser(
        "captioned_videos",
        help="a folder of videos with a caption file",
        description="Prepares the videos of a folder that have captions in an annotation file. Any container and "
        "codec that FFmpeg reads; a video that cannot be read is skipped and listed with its reason.",
        epilog="example: svilm prepare captioned_videos --videos clips --captions captions.csv --out runs/data "
        "--short-side 256 --fps 12",
    )
    captioned.add_argument("--videos", type=Path, required=True, metavar="DIR", help="folder of videos")
    captioned.add_argument(
        "--captions",
        type=Path,
        required=True,
        metavar="FILE",
        help="JSON, JSON lines, CSV or TSV, a video and a caption per row (forms: docs/data/captioned_videos.md)",
    )
    _common(captioned)
    captioned.add_argument("--name", default="captioned_videos", help="dataset name (default: captioned_videos)")
    captioned.add_argument(
        "--validation-fraction",
        type=float,
        default=0.0,
        metavar="X",
        help="fraction of videos without a given split used for validation, by a hash of their id (default: 0)",
    )
    _common_of_files(captioned, max_skipped_fraction=0.5)
    captioned.set_defaults(prepare=_captioned_videos)

    for dataset in published_datasets():
        parser_ = datasets.add_parser(
            dataset.name,
            help=dataset.help,
            description=f"{dataset.help[0].upper()}{dataset.help[1:]}. Needs {dataset.files}; see docs/data/index.md.",
            epilog=f"example: svilm prepare {dataset.name} --annotations downloads/{dataset.name} "
            f"--videos videos/{dataset.name} --out runs/data --short-side 256 --fps 12",
        )
        add_dataset_arguments(parser_, dataset)
        _common(parser_, required=False)
        _common_of_files(parser_, max_skipped_fraction=0.1)
        parser_.set_defaults(prepare=functools.partial(prepare_dataset, dataset))


def run(args: argparse.Namespace) -> None:
    """Runs the preparation and prints its summary.

    Raises:
      PreparationError: a user error.
    """
    for name in ("validation_fraction", "max_skipped_fraction"):
        if not 0 <= (share := getattr(args, name, 0.0)) <= 1:
            raise PreparationError(f"--{name.replace('_', '-')} {share:g}: expected a share between 0 and 1")
    check_output_folder(args.out)
    try:
        folder = args.prepare(args)
    except (OSError, sqlite3.OperationalError) as error:  # a full disk, a folder that is not writable
        place = getattr(error, "filename", None) or args.out
        reason = FULL_DISK if is_full_disk(error) else getattr(error, "strerror", None) or error
        raise PreparationError(f"{place}: {reason}") from error
    if folder is not None:
        print(describe(folder))


def _common_of_files(parser: argparse.ArgumentParser, max_skipped_fraction: float) -> None:
    """Adds the options of all datasets with video files."""
    parser.add_argument(
        "--short-side",
        type=int,
        default=0,
        metavar="N",
        help="re-encode with the shorter side scaled down to N pixels; smaller videos keep their size (default: no)",
    )
    parser.add_argument(
        "--fps",
        type=float,
        default=0.0,
        metavar="F",
        help="re-encode to at most F frames per second; --short-side alone keeps the mean rate (default: no)",
    )
    parser.add_argument(
        "--max-skipped-fraction",
        type=float,
        default=max_skipped_fraction,
        metavar="X",
        help=f"fraction of videos that may be missing or unreadable (default: {max_skipped_fraction:g})",
    )
    parser.add_argument(
        "--vocab-size", type=int, default=8000, metavar="N", help="size of the trained vocabulary (default: 8000)"
    )


def _common(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument(
        "--out", type=Path, required=required, metavar="DIR", help="output folder; the dataset becomes a subfolder"
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: 2)")
    parser.add_argument(
        "--runner", default="", metavar="NAME", help="run as pipelines of this Apache Beam runner (default: processes)"
    )
    parser.add_argument(
        "--beam-option",
        action="append",
        default=[],
        metavar="--X=Y",
        help="option of the runner, written --beam-option=--x=y; may be repeated",
    )
    parser.add_argument("--overwrite", action="store_true", help="prepare again what is already prepared")
    parser.add_argument("--vocab", type=Path, metavar="FILE", help="vocab.txt to use instead of training one")
    parser.add_argument(
        "--phrases",
        type=Path,
        metavar="FILE",
        help="JSON file {caption: [noun phrase, ...]} to use instead of spaCy's parser",
    )


def _moving_shapes(args: argparse.Namespace) -> Path:
    from svilm_data.datasets.moving_shapes import SPLITS, prepare

    if args.seed < 0:
        raise PreparationError(f"--seed {args.seed}: expected a whole number, at least 0")
    sizes = {}
    for item in args.size:
        split, _, count = item.partition("=")
        if split not in SPLITS or not count.isdigit() or not int(count) or int(count) % SPLITS[split].group:
            known = ", ".join(f"{name} (a multiple of {split.group})" for name, split in SPLITS.items())
            raise PreparationError(f"--size {item}: expected SPLIT=N, a number of clips for one of {known}")
        sizes[split] = int(count)
    return prepare(
        args.out,
        seed=args.seed,
        sizes=sizes or None,
        workers=args.workers,
        overwrite=args.overwrite,
        vocab=args.vocab,
        phrases=args.phrases,
        beam=beam_of(args.runner, args.beam_option),
    )


def _captioned_videos(args: argparse.Namespace) -> Path:
    from svilm_data.datasets.captioned_videos import prepare

    return prepare(
        args.videos,
        args.captions,
        args.out,
        name=args.name,
        validation_fraction=args.validation_fraction,
        short_side=args.short_side,
        fps=args.fps,
        max_skipped_fraction=args.max_skipped_fraction,
        workers=args.workers,
        overwrite=args.overwrite,
        vocab=args.vocab,
        phrases=args.phrases,
        vocab_size=args.vocab_size,
        beam=beam_of(args.runner, args.beam_option),
    )
