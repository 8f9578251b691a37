"""Summary of a prepared dataset in text: splits, annotations, lengths of captions, and properties of videos."""

import collections
import statistics
from collections.abc import Iterable, Sequence

import numpy as np

from svilm_jax.config import TextConfig, VideoConfig
from svilm_jax.input.records import RecordSource, version_folder
from svilm_jax.input.schema import Record
from svilm_jax.text.review import is_unknown, split_words
from svilm_jax.text.tokenizers import Tokenizer
from svilm_jax.video import decoding


def summarize_dataset(records: RecordSource, counts: dict[str, int], tokenizer: Tokenizer, sample: int) -> list[str]:
    """Summarizes a prepared dataset.

    Args:
      records: one split of it.
      counts: name -> number of records, of every split.
      tokenizer: counts tokens and finds words outside of its vocabulary.
      sample: maximum number of evenly spaced records of the split that lengths and sizes are taken from.

    Returns:
      Lines of text: folder and size, splits, tokenizer, annotations, and statistics of captions and videos.
    """
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
        *_annotations(seen),
        *_text(seen, tokenizer),
        *_videos(seen),
    ]


def _annotations(seen: Sequence[Record]) -> list[str]:
    counts = {
        "group": sum(bool(r.group) for r in seen),
        "captions": sum(bool(r.captions) for r in seen),
        "timed captions": sum(any(c.start >= 0 for c in r.captions) for r in seen),
        "actions": sum(bool(r.actions) for r in seen),
        "questions": sum(bool(r.questions) for r in seen),
        "cuts": sum(bool(r.cuts) for r in seen),
        "objects": sum(bool(r.objects) for r in seen),
        "masks": sum(r.masks is not None for r in seen),
    }
    present = [f"{name} {count / len(seen):.0%}" for name, count in counts.items() if count]
    return ["  records with " + (", ".join(present) or "no annotations")]


def _text(seen: Sequence[Record], tokenizer: Tokenizer) -> list[str]:
    captions = [caption for record in seen for caption in record.captions]
    if not captions:
        return []
    pieces = [tokenizer.pieces(caption.text) for caption in captions]
    unknown = sum(piece == tokenizer.unk_id for row in pieces for piece in row)
    tokens = [len(row) + 2 for row in pieces]  # and a first and a last one
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
    if truncated := sum(count > TextConfig().max_length for count in tokens):
        fraction = f"{truncated} of {len(captions)} ({truncated / len(captions):.2%})"
        lines.append(
            f"  captions truncated at the default model.text.max_length of {TextConfig().max_length} tokens: {fraction}"
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
    fraction = f"{count} of {len(captions)} ({count / len(captions):.2%})"
    return [f"  captions with a word unknown to the vocabulary: {fraction}: {named}"]


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
            _line("KiB per file", [len(record.video) / 1024 for record in seen]),
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


def _line(name: str, values: Iterable[float]) -> str:
    values = list(values)
    return f"  {name}: {min(values):.4g} to {max(values):.4g}, median {statistics.median(values):.4g}"
