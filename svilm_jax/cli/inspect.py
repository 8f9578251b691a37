"""The `svilm inspect` command: counts, lengths and sizes of a prepared dataset, and a contact sheet."""

import argparse
import collections
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from svilm_jax.config import InputConfig, SpliceConfig, TextConfig, VideoConfig
from svilm_jax.config.constraints import LARGEST, Range, check_number
from svilm_jax.filesystem.output_paths import check_output_file
from svilm_jax.input.records import RecordSource, open_records, splits, version_folder
from svilm_jax.input.schema import Record
from svilm_jax.report.contact_sheet import write_contact_sheet
from svilm_jax.text.review import is_unknown, split_words
from svilm_jax.text.tokenizers import Tokenizer, TokenizerError, load_tokenizer
from svilm_jax.video import decoding

_NUMBERS = {
    "sample": Range(1, LARGEST),
    "rows": Range(2, 1024),
    "frames": Range(3, 4096),
    "size": Range(1, 8192),
    "seed": Range(0, LARGEST),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `svilm inspect`."""
    parser.add_argument("dataset", type=Path, help="a folder that `svilm prepare` wrote")
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
      DatasetError, TokenizerError, ConfigError: a user error.
    """
    for name, numbers in _NUMBERS.items():
        check_number(f"--{name}", getattr(args, name), numbers)
    sheet = args.sheet or args.dataset / "contact_sheet.png"
    counts = splits(args.dataset)
    check_output_file(sheet, "--sheet")
    split = args.split or ("train" if "train" in counts else next(iter(counts), "train"))
    records = open_records(args.dataset, split)
    tokenizer = _tokenizer(args.tokenizer, args.dataset)
    for line in describe(records, counts, tokenizer, args.sample):
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


def describe(records: RecordSource, counts: dict[str, int], tokenizer: Tokenizer, sample: int) -> list[str]:
    """Returns lines about a dataset; lengths and sizes from at most `sample` evenly spaced records of one split."""
    folder = version_folder(records.folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    lines = [
        f"{records.name} {records.version}, {sum(p.stat().st_size for p in files) / 2**20:.1f} MiB in {folder}",
        "splits: " + ", ".join(f"{name} {count}" for name, count in counts.items()),
        f"tokenizer: {tokenizer.kind}, {tokenizer.vocab_size} tokens, fingerprint {tokenizer.fingerprint}",
    ]
    if not len(records):
        return [*lines, f"{records.split}: no records"]
    numbers = np.unique(np.linspace(0, len(records) - 1, min(sample, len(records))).astype(int))
    seen = [records[int(i)] for i in numbers]
    return [
        *lines,
        f"{records.split}, {len(seen)} records sampled:",
        *_features(seen),
        *_text(seen, tokenizer),
        *_videos(seen),
    ]


def _features(seen: Sequence[Record]) -> list[str]:
    share = {
        "group": sum(bool(r.group) for r in seen),
        "captions": sum(bool(r.captions) for r in seen),
        "timed captions": sum(any(c.start >= 0 for c in r.captions) for r in seen),
        "actions": sum(bool(r.actions) for r in seen),
        "questions": sum(bool(r.questions) for r in seen),
        "cuts": sum(bool(r.cuts) for r in seen),
        "objects": sum(bool(r.objects) for r in seen),
        "masks": sum(r.masks is not None for r in seen),
    }
    held = [f"{name} {count / len(seen):.0%}" for name, count in share.items() if count]
    return ["  records with " + (", ".join(held) or "no annotations")]


def _text(seen: Sequence[Record], tokenizer: Tokenizer) -> list[str]:
    captions = [caption for record in seen for caption in record.captions]
    if not captions:
        return []
    pieces = [tokenizer.pieces(caption.text) for caption in captions]
    unknown = sum(piece == tokenizer.unk_id for row in pieces for piece in row)
    tokens = [len(row) + 2 for row in pieces]  # first and end token
    lines = [
        _line("captions per clip", [len(record.captions) for record in seen]),
        _line("words per caption", [len(caption.text.split()) for caption in captions]),
        _line("tokens per caption, including special tokens", tokens)
        + f"; 99 % fit model.text.max_length {int(np.quantile(tokens, 0.99, method='higher'))}",
        _line("noun phrases per caption", [len(caption.phrases) for caption in captions]),
    ]
    if unknown:
        lines.append(f"  tokens unknown to the vocabulary: {unknown / max(sum(map(len, pieces)), 1):.2%}")
    lines += _unknown_words([caption.text for caption in captions], tokenizer)
    if cut := sum(count > TextConfig().max_length for count in tokens):
        share = f"{cut} of {len(captions)} ({cut / len(captions):.2%})"
        lines.append(
            f"  captions truncated at the default model.text.max_length of {TextConfig().max_length} tokens: {share}"
        )
    phrases = collections.Counter(p.lower() for caption in captions for p in caption.phrases)
    if phrases:
        common = ", ".join(f"{phrase} ({count})" for phrase, count in phrases.most_common(6))
        lines.append(f"  most frequent phrases: {common}")
    return lines


def _unknown_words(captions: Sequence[str], tokenizer: Tokenizer) -> list[str]:
    """Returns a line on the captions with out-of-vocabulary words, with the most frequent of these words."""
    words = [split_words(text) for text in captions]
    unknown = {word for word in set().union(*words) if is_unknown(tokenizer, word)}
    if not unknown:
        return []
    count = sum(not unknown.isdisjoint(row) for row in words)
    frequent = collections.Counter(word for row in words for word in row if word in unknown).most_common(6)
    named = ", ".join(f"{word!r} ({times})" for word, times in frequent)
    share = f"{count} of {len(captions)} ({count / len(captions):.2%})"
    return [f"  captions with a word unknown to the vocabulary: {share}: {named}"]


def _videos(seen: Sequence[Record]) -> list[str]:
    infos, failed = [], []
    for record in seen:
        try:
            infos.append(decoding.probe(record.video, name=record.id))
        except decoding.VideoError as error:
            failed.append(str(error))
    lines = []
    if infos:
        codecs = collections.Counter(info.codec for info in infos)
        lines += [
            _line("seconds per video", [info.duration for info in infos]),
            _line("frames per second", [info.fps for info in infos]),
            _line("width", [info.width for info in infos]),
            _line("height", [info.height for info in infos]),
            _line("KiB a file", [len(record.video) / 1024 for record in seen]),
            "  codecs: " + ", ".join(f"{codec} {count}" for codec, count in codecs.most_common()),
        ]
    read = VideoConfig().num_frames
    if short := [info.frames for info in infos if info.frames < read]:
        counts = ", ".join(f"{frames} ({count})" for frames, count in sorted(collections.Counter(short).items())[:6])
        lines.append(
            f"  videos with fewer frames than the default model.video.num_frames of {read}, which the model sees "
            f"repeated: {len(short)} of {len(infos)}; frames: {counts}"
        )
    if failed:
        lines.append(f"  {len(failed)} videos cannot be read: " + "; ".join(failed[:5]))
    return lines


def _line(what: str, values: Iterable[float]) -> str:
    values = list(values)
    return f"  {what}: {min(values):.4g} to {max(values):.4g}, median {statistics.median(values):.4g}"


def _tokenizer(path: str, dataset: Path) -> Tokenizer:
    """Loads the requested tokenizer, or else the dataset's own, or else the package's."""
    if path:
        return load_tokenizer(path, dataset=dataset)
    try:
        return load_tokenizer("dataset", dataset=dataset)
    except TokenizerError:  # prepared without one; which one is used is printed
        return load_tokenizer("builtin:moving_shapes")
