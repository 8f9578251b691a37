"""The `svilm search` command: searches an index with a text query; prints ranks and cosines as text or JSON."""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

from svilm_jax.cli.index_file import open_index
from svilm_jax.config import ConfigError
from svilm_jax.filesystem.unicode_repair import REPLACEMENT, repaired
from svilm_jax.inference.index import FoundClip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `svilm search`."""
    parser.epilog = (
        "example: svilm embed clips/ --model runs/demo --out features.parquet, then "
        'svilm search "a small red square is sliding left" --index features.parquet'
    )
    parser.add_argument("text", metavar="TEXT", help="text query, in quotes")
    parser.add_argument("--index", type=Path, required=True, metavar="FILE", help="index file written by `svilm embed`")
    parser.add_argument("--model", type=Path, metavar="DIR", help="default: the model recorded in FILE")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="number of results, best first (default: 10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(args: argparse.Namespace) -> None:
    """Prints the results, and on stderr which parts of the query were not understood.

    Raises:
      ConfigError: an empty query, or `--top` below 1.
      IndexFileError: the file cannot be used, or is of another model.
    """
    text = _argument(args.text)
    if not text.strip():
        raise ConfigError("TEXT is empty: give a sentence, such as 'a red square'")
    if args.top < 1:
        raise ConfigError(f"--top={args.top}: expected at least 1")
    index, model, path = open_index(args.index, args.model)
    review = model.review_text(text)
    if broken := text.count(REPLACEMENT) - args.text.count(REPLACEMENT):
        print(f"svilm search: broken characters left out: {broken}", file=sys.stderr)
    for note in review.notes:
        print(f"svilm search: {note}", file=sys.stderr)
    found = index.search(model.embed_text(text)[0], args.top)
    if args.json:
        answers = [{"rank": rank, **dataclasses.asdict(clip)} for rank, clip in enumerate(found, 1)]
        understood = {"unknown_words": review.unknown, "pieces": review.pieces, "pieces_read": review.read}
        print(json.dumps({"text": text, **understood, "model": str(path), "found": answers}, indent=1))
    else:
        print(lines(found))


def _argument(text: str) -> str:
    """Decodes an argument as UTF-8 for any terminal encoding; invalid bytes are replaced."""
    mended, broken = repaired(text)
    if not broken:
        return text
    try:
        return os.fsencode(text).decode("utf-8", "replace")  # bytes that are invalid in the terminal's encoding
    except UnicodeEncodeError:
        return mended


def lines(found: list[FoundClip]) -> str:
    """Formats results as a table: rank, cosine, seconds, video."""
    spans = [f"{clip.start:.2f}–{clip.end:.2f} s" for clip in found]
    width = max(map(len, spans), default=0)
    return "\n".join(
        f"{rank:>4}  {clip.cosine:6.3f}  {span:>{width}}  {clip.video}"
        for rank, (clip, span) in enumerate(zip(found, spans, strict=True), 1)
    )
