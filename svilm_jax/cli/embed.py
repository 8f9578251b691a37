"""The `svilm embed` command: embeds video files into an index for `svilm search`."""

import argparse
import sys
from pathlib import Path

from svilm_jax.checkpoints import load
from svilm_jax.cli.arguments import MODEL, add_checkpoint, checkpoint_path
from svilm_jax.config.constraints import Range, check_number
from svilm_jax.filesystem.output_paths import check_output_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `svilm embed`."""
    parser.epilog = (
        "An interrupted run resumes with the same command. "
        "example: svilm embed VIDEOS --model runs/demo --out features.parquet"
    )
    parser.add_argument(
        "videos", nargs="+", type=Path, metavar="VIDEO", help="video files, or folders that are searched recursively"
    )
    parser.add_argument("--model", type=Path, required=True, help=MODEL)
    add_checkpoint(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="index file, *.parquet")
    parser.add_argument("--window", type=float, metavar="S", help="seconds per embedding (default: the whole video)")
    parser.add_argument("--stride", type=float, metavar="S", help="seconds between windows (default: --window)")
    parser.add_argument("--prune", action="store_true", help="remove existing rows of videos that are not named")


def run(args: argparse.Namespace) -> None:
    """Embeds files and writes the index."""
    from svilm_jax.inference.embedding import embed_files

    for name in ("window", "stride"):
        if (seconds := getattr(args, name)) is not None:
            check_number(f"--{name}", seconds, Range(0, 1e6, low_included=False))
    check_output_file(args.out)
    model = load(checkpoint_path(args.model, args.checkpoint))
    # Recorded in the index by its step: the best checkpoint of a run may be another one later.
    path = args.model if args.checkpoint == "newest" else args.model / "checkpoints" / str(model.step)
    if model.warning:
        print(f"{args.model}: {model.warning}", file=sys.stderr)
    stride = args.window if args.stride is None else args.stride
    print(embed_files(model, path, args.videos, args.out, args.window, stride, args.prune))
