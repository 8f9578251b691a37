"""The `svilm inspect` command: counts, lengths and sizes of a prepared dataset, and a contact sheet."""

import argparse
from pathlib import Path

from svilm_jax.config import InputConfig, SpliceConfig, TextConfig, VideoConfig
from svilm_jax.config.constraints import LARGEST, Range, check_number
from svilm_jax.filesystem.output_paths import check_output_file
from svilm_jax.input.records import open_records, splits
from svilm_jax.report.contact_sheet import write_contact_sheet
from svilm_jax.report.dataset_summary import summarize_dataset
from svilm_jax.text.tokenizers import Tokenizer, TokenizerError, load_tokenizer

_NUMBERS = {
    "sample": Range(1, LARGEST),
    "rows": Range(2, 1024),
    "frames": Range(3, 4096),
    "size": Range(1, 8192),
    "seed": Range(0, LARGEST),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `svilm inspect`."""
    parser.add_argument("dataset", type=Path, help="output folder of `svilm prepare`")
    parser.add_argument(
        "--split", default="", help="split for lengths and contact sheet (default: train, or the first)"
    )
    parser.add_argument(
        "--sample", type=int, default=200, metavar="N", help="number of records to sample (default: 200)"
    )
    parser.add_argument(
        "--tokenizer", default="", metavar="PATH", help="vocabulary to count tokens with (default: the dataset's own)"
    )
    parser.add_argument(
        "--sheet",
        type=Path,
        metavar="FILE",
        help="output file of the contact sheet (default: DATASET/contact_sheet.png)",
    )
    parser.add_argument("--rows", type=int, default=8, metavar="N", help="clips in the contact sheet (default: 8)")
    parser.add_argument("--frames", type=int, default=16, metavar="N", help="frames per clip (default: 16)")
    parser.add_argument("--size", type=int, default=96, metavar="PIXELS", help="frame size (default: 96)")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the batch (default: 0)")
    parser.epilog = "example: svilm inspect runs/data/moving_shapes"


def run(args: argparse.Namespace) -> None:
    """Prints a summary of the dataset and writes the contact sheet.

    Raises:
      DatasetError: no such dataset or split.
      TokenizerError: the vocabulary cannot be read.
      ConfigError: an option out of range.
    """
    for name, numbers in _NUMBERS.items():
        check_number(f"--{name}", getattr(args, name), numbers)
    sheet = args.sheet or args.dataset / "contact_sheet.png"
    counts = splits(args.dataset)
    check_output_file(sheet, "--sheet")
    split = args.split or ("train" if "train" in counts else next(iter(counts), "train"))
    records = open_records(args.dataset, split)
    tokenizer = _tokenizer(args.tokenizer, args.dataset)
    for line in summarize_dataset(records, counts, tokenizer, args.sample):
        print(line)
    # Two frames per tubelet, the usual size; one if there are so few frames that no splice would fit.
    tubelet = 2 if args.frames % 2 == 0 and args.frames >= 6 else 1
    write_contact_sheet(
        sheet,
        InputConfig(dataset=str(args.dataset), split=split, max_failure_fraction=1.0),
        VideoConfig(num_frames=args.frames, image_size=args.size, tubelet_size=(tubelet, 16, 16)),
        TextConfig(max_length=64),
        SpliceConfig(block=args.rows),
        tokenizer,
        rows=args.rows,
        seed=args.seed,
    )
    print(f"contact sheet of a spliced training batch: {sheet}")


def _tokenizer(path: str, dataset: Path) -> Tokenizer:
    """Loads the given tokenizer, by default that of the dataset, or the built-in one if the dataset has none."""
    if path:
        return load_tokenizer(path, dataset=dataset)
    try:
        return load_tokenizer("dataset", dataset=dataset)
    except TokenizerError:  # prepared without one; the summary names the tokenizer that is used
        return load_tokenizer("builtin:moving_shapes")
