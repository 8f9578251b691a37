"""How does any dataset become records? The one path that all take, rendered and real.

Entries (an annotation and the path of a video file) -> videos checked, unusable ones skipped and counted -> noun
phrases -> records -> TFDS with ArrayRecord, and beside them:

    OUT/NAME/<version>/          dataset_info.json, features.json, NAME-train.array_record-*
    OUT/NAME/preparation.json    options, counts, skipped files with reasons, versions
    OUT/NAME/vocab.txt           a WordPiece vocabulary, trained on the training captions or given

Everything is written into a folder of another name first, which is renamed at the end: what stops half-way leaves
nothing that looks finished.
"""

import contextlib
import dataclasses
import fcntl
import functools
import importlib.metadata
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from svilm_jax.input import schema
from svilm_jax.input.decoding import VideoInfo
from svilm_jax.input.tokenization import TokenizerError, load_tokenizer, train_wordpiece

from .errors import PreparationError
from .noun_phrases import noun_phrases, spacy_versions
from .videos import check_video
from .workers import Workers, working
from .writing import write_records

__all__ = ["Entry", "Plan", "PreparationError", "finished", "prepare"]

SUMMARY = "preparation.json"
_VERSIONED = ("svilm_jax", "tensorflow-datasets", "array-record", "av", "numpy", "tokenizers")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One video as an annotation file knows it.

    Attributes:
      record: without video bytes, phrases and masks.
      video: its file.
      masks: an .npz file with uint8 [F, h, w] under "masks"; None where there are none.
    """

    record: schema.Record
    video: Path
    masks: Path | None = None


@dataclasses.dataclass(frozen=True)
class Checked:
    """An entry whose video is usable; `file` is what becomes the record's video."""

    entry: Entry
    file: Path
    info: VideoInfo


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to prepare and how.

    Attributes:
      name: of the dataset and its folder.
      out: folder that receives `name/`.
      options: all that decides the content, JSON values; a finished dataset of other options is an error.
      command: that a reader would type to prepare it again.
      workers: processes.
      overwrite: replaces a finished dataset.
      max_skipped_share: of the videos that may be unusable before preparation stops.
      vocab: a vocab.txt to use; None trains one.
      vocab_size: of the trained one, at most.
      description: for dataset_info.json.
    """

    name: str
    out: Path
    options: Mapping[str, Any]
    command: str
    workers: int = 2
    overwrite: bool = False
    max_skipped_share: float = 0.0
    vocab: Path | None = None
    vocab_size: int = 8000
    description: str = ""

    @property
    def folder(self) -> Path:
        """Where the finished dataset is."""
        return self.out / self.name


def finished(plan: Plan) -> bool:
    """Whether the dataset is already there, as asked; true means that there is nothing to do.

    Raises:
      PreparationError: something else is there: a folder of another origin, or the dataset with other options.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", plan.name):
        raise PreparationError(f"name {plan.name!r}: expected lower-case letters, digits and _, a letter first")
    if not plan.folder.exists():
        return False
    if not (plan.folder / SUMMARY).is_file():
        raise PreparationError(
            f"{plan.folder}: exists and was not written by `svilm prepare` (no {SUMMARY}): give another --out or --name"
        )
    if plan.overwrite:
        return False
    options = json.loads((plan.folder / SUMMARY).read_text(encoding="utf-8"))["options"]
    wanted = json.loads(json.dumps(plan.options))
    if options != wanted:
        changed = sorted(key for key in options.keys() | wanted.keys() if options.get(key) != wanted.get(key))
        told = ", ".join(f"{key}={options.get(key)!r}, now {wanted.get(key)!r}" for key in changed)
        raise PreparationError(f"{plan.folder}: already prepared with {told}: give --overwrite or another --out")
    return True


def prepare(plan: Plan, splits: Mapping[str, Sequence[Entry]], notes: Mapping[str, Any] | None = None) -> Path:
    """Prepares a dataset from its entries.

    Args:
      splits: entries in the order in which their records are to lie on disk.
      notes: further facts for preparation.json and the summary.

    Returns:
      The folder of the dataset.

    Raises:
      PreparationError: too many unusable videos, no usable one, masks that do not fit, another preparation running.
    """
    if finished(plan):
        return plan.folder
    if not any(splits.values()):
        raise PreparationError(f"{plan.name}: no video to prepare")
    with building(plan.out, plan.name) as folder, working(plan.workers) as workers:
        usable, skipped = _check(plan, splits, workers)
        captions = (c.text for items in usable.values() for item in items for c in item.entry.record.captions)
        phrases = noun_phrases(captions, workers)
        workers.close()  # writing is one process's work; the others' memory is better free
        write_records(
            plan.name,
            {split: functools.partial(_records, items, phrases) for split, items in usable.items()},
            folder,
            plan.description,
        )
        made = folder / plan.name
        vocabulary = _vocabulary(plan, usable, made / "vocab.txt")
        summary = {
            "dataset": plan.name,
            "schema": schema.SCHEMA_VERSION,
            "command": plan.command,
            "options": dict(plan.options),
            "splits": {split: _counts(items) for split, items in usable.items()},
            "skipped": skipped,
            "vocabulary": vocabulary,
            "notes": dict(notes or {}),
            "versions": {name: importlib.metadata.version(name) for name in _VERSIONED} | spacy_versions(),
        }
        (made / SUMMARY).write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        _publish(made, plan.folder)
    return plan.folder


def describe(folder: Path) -> str:
    """The summary of a finished preparation, for people."""
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    lines = [f"{folder}: {summary['vocabulary']}"]
    lines += [
        f"  {split}: {counts['clips']} clips, {counts['captions']} captions, {counts['seconds']:.0f} s of video"
        for split, counts in summary["splits"].items()
    ]
    lines += [f"  {key}: {value}" for key, value in summary["notes"].items()]
    if summary["skipped"]:
        lines.append(f"  skipped {len(summary['skipped'])} unusable videos:")
        lines += [f"    {item['video']}: {item['reason']}" for item in summary["skipped"]]
    return "\n".join(lines)


@contextlib.contextmanager
def building(out: Path, name: str) -> Iterator[Path]:
    """An empty folder to build `out/name` in, gone afterwards; one preparation of a name at a time.

    Raises:
      PreparationError: another process is at it, or `out` cannot be written.
    """
    lock = out / f".{name}.lock"
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = lock.open("w")
    except OSError as error:
        raise PreparationError(f"{out}: cannot be written ({error.strerror}); give another --out") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go by the system if this process dies
        except OSError as error:
            raise PreparationError(f"{out}: another process is preparing {name} here; wait for it") from error
        folder = out / f".{name}.incomplete"
        shutil.rmtree(folder, ignore_errors=True)  # of a preparation that was killed
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def _publish(made: Path, folder: Path) -> None:
    """Puts the finished folder in its place; the one that it replaces is removed only then."""
    old = made.parent / "replaced"
    if folder.exists():
        folder.rename(old)
    made.rename(folder)


def _check(
    plan: Plan, splits: Mapping[str, Sequence[Entry]], workers: Workers
) -> tuple[dict[str, list[Checked]], list[dict[str, str]]]:
    """What can be used of each split, in order, and what is skipped with its reason."""
    entries = [(split, entry) for split, members in splits.items() for entry in members]
    results = workers.map(check_video, [e.video for _, e in entries], doing="checking videos", unit="video", chunk=16)
    usable: dict[str, list[Checked]] = {split: [] for split in splits}
    skipped: list[dict[str, str]] = []
    for (split, entry), (info, reason) in zip(entries, results, strict=True):
        if info is None:
            skipped.append({"split": split, "video": entry.record.id, "reason": reason})
        else:
            usable[split].append(Checked(entry, entry.video, info))
    share = len(skipped) / len(entries)
    if share > plan.max_skipped_share or not any(usable.values()):
        shown = "".join(f"\n  {item['video']}: {item['reason']}" for item in skipped[:10])
        more = f"\n  and {len(skipped) - 10} more" if len(skipped) > 10 else ""
        raise PreparationError(
            f"{plan.name}: {len(skipped)} of {len(entries)} videos are unusable, more than --max-skipped-share "
            f"{plan.max_skipped_share:g} allows:{shown}{more}"
        )
    return {split: members for split, members in usable.items() if members}, skipped


def _records(usable: Sequence[Checked], phrases: Mapping[str, tuple[str, ...]]) -> Iterator[schema.Record]:
    """Complete records, read from disk one at a time."""
    for item in usable:
        record = item.entry.record
        captions = tuple(dataclasses.replace(c, phrases=phrases[c.text]) for c in record.captions)
        masks = _masks(item)
        yield dataclasses.replace(record, captions=captions, video=item.file.read_bytes(), masks=masks)


def _masks(item: Checked) -> np.ndarray | None:
    path = item.entry.masks
    if path is None:
        return None
    with np.load(path, allow_pickle=False) as archive:
        masks = archive["masks"]
    if masks.dtype != np.uint8 or masks.ndim != 3 or (item.info.frames and len(masks) != item.info.frames):
        raise PreparationError(
            f"{path}: masks {masks.dtype} {masks.shape}: expected uint8 [{item.info.frames} frames, height, width]"
        )
    known = {o.mask_id for o in item.entry.record.objects}
    if known and not known <= set(range(1, 256)):
        raise PreparationError(f"{path}: mask ids {sorted(known)}: expected numbers from 1 to 255")
    return masks


def _vocabulary(plan: Plan, usable: Mapping[str, Sequence[Checked]], path: Path) -> str:
    """Writes vocab.txt and says in words where it comes from."""
    if plan.vocab is not None:
        try:
            tokenizer = load_tokenizer(plan.vocab)
        except TokenizerError as error:
            raise PreparationError(f"--vocab: {error}") from error
        if tokenizer.kind != "wordpiece" or plan.vocab.suffix != ".txt":
            raise PreparationError(
                f"--vocab {plan.vocab}: expected a vocab.txt (WordPiece, one token a line); "
                "name other kinds in the config: tokenizer.path"
            )
        shutil.copyfile(plan.vocab, path)
        return f"{tokenizer.vocab_size} tokens, given by --vocab"
    texts = [c.text for item in usable.get("train", ()) for c in item.entry.record.captions]
    if not texts:
        return "none: no training captions to learn one from"
    try:
        return f"{train_wordpiece(texts, plan.vocab_size, path)} tokens, learned from {len(texts)} training captions"
    except TokenizerError as error:
        raise PreparationError(f"--vocab-size: {error}") from error


def _counts(usable: Sequence[Checked]) -> dict[str, Any]:
    return {
        "clips": len(usable),
        "captions": sum(len(item.entry.record.captions) for item in usable),
        "seconds": round(sum(item.info.duration for item in usable), 1),
        "bytes": sum(item.file.stat().st_size for item in usable),
    }
