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
import importlib.metadata
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from svilm_jax.input import schema
from svilm_jax.input.tokenization import TokenizerError, load_tokenizer, train_wordpiece

from .errors import PreparationError
from .noun_phrases import noun_phrases, spacy_versions
from .videos import Checked, check_video
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
        phrases = noun_phrases((c.text for entries in usable.values() for e in entries for c in e.record.captions), workers)
        workers.close()  # writing is one process's work; the others' memory is better free
        write_records(
            plan.name,
            {split: lambda entries=entries: _records(entries, phrases) for split, entries in usable.items()},  # type: ignore[misc]
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
            "splits": {split: _counts(entries) for split, entries in usable.items()},
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
) -> tuple[dict[str, list[tuple[Entry, Checked]]], list[dict[str, str]]]:
    """Usable entries of each split with what their file says of itself, and the skipped ones."""
    entries = [(split, entry) for split, members in splits.items() for entry in members]
    results = workers.map(check_video, [e.video for _, e in entries], doing="checking videos", unit="video", chunk=16)
    return {}, []
