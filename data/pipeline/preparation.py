"""Preparation pipeline from entries to records, shared by all datasets, rendered and real.

Entries (an annotation and the path of a video file) -> videos checked, unusable ones skipped and counted -> noun
phrases -> records -> TFDS with ArrayRecord, and in the same folder:

    OUT/NAME/<version>/          dataset_info.json, features.json, NAME-train.array_record-*, views.json
    OUT/NAME/preparation.json    options, counts, skipped files with reasons, versions
    OUT/NAME/skipped.jsonl       all skipped files, where there are too many for preparation.json
    OUT/NAME/vocab.txt           a WordPiece vocabulary, trained on training captions (or else questions), or given
    OUT/NAME/labels.json         action classes in the order of their class indices
    OUT/NAME/answers.json        answers of the training questions with their counts, most frequent first

All output is written to a temporary folder, which is renamed at the end: an interrupted preparation leaves nothing that
looks finished, and its expensive results (checks, re-encoded files, phrases) are in a journal, from which the next
preparation resumes. Entries are only iterated over, several times, so that a collection that reads them from disk keeps
memory small for any number of entries.
"""

import collections
import contextlib
import dataclasses
import hashlib
import importlib.metadata
import itertools
import json
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from svilm_data.annotations.caption_times import TimesOutside
from svilm_data.annotations.entries import Entry, read_masks
from svilm_data.annotations.noun_phrases import PhraseTable, parser_versions
from svilm_data.annotations.phrasing import find_phrases, with_phrases
from svilm_data.pipeline.beam import Beam, beam_working
from svilm_data.pipeline.checking import Checked, check_videos, told
from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.journal import Journal, journal
from svilm_data.pipeline.transcoding import EncodingOptions
from svilm_data.pipeline.vocabulary_coverage import unknown_fraction
from svilm_data.pipeline.workers import working
from svilm_data.pipeline.writing import write_records
from tqdm import tqdm

from svilm_jax.filesystem.locks import LockError, locked_output
from svilm_jax.input import schema
from svilm_jax.text.tokenizers import TokenizerError, load_tokenizer
from svilm_jax.text.vocabulary_training import train_wordpiece

__all__ = ["Beam", "EncodingOptions", "Entry", "Plan", "PreparationError", "describe", "finished", "prepare"]

SUMMARY = "preparation.json"
SKIPPED = "skipped.jsonl"
LISTED = 1000  # skipped videos in the summary
TOLD = 50  # number of them printed
OTHER_BYTES = 2000  # of a record, in addition to the video: captions, phrases, packed masks
_VERSIONED = ("svilm_jax", "tensorflow-datasets", "array-record", "av", "numpy", "tokenizers")


@dataclasses.dataclass(frozen=True)
class Plan:
    """Description of a preparation.

    Attributes:
      name: of the dataset and its folder.
      out: folder that receives `name/`.
      options: everything that determines the content except `vocab` and `encoding`, JSON values; a finished dataset
        with other options is an error.
      command: command that prepares it again, for documentation.
      workers: number of processes.
      beam: runner to use instead of these.
      overwrite: replaces a finished dataset.
      max_skipped_fraction: maximum fraction of unusable videos.
      vocab: a vocab.txt to use; None trains one.
      vocab_size: maximum size of the trained one.
      phrases: a JSON file with the noun phrases of every caption (`PhraseTable`); None: found by spaCy.
      encoding: encoding of re-encoded videos; by default their bytes are kept.
      description: for dataset_info.json.
      labels: action classes in their order; (): those that occur, sorted.
      views: further splits over the same records, see `official.Annotated.views`.
    """

    name: str
    out: Path
    options: Mapping[str, Any]
    command: str
    workers: int = 2
    beam: Beam | None = None
    overwrite: bool = False
    max_skipped_fraction: float = 0.0
    vocab: Path | None = None
    vocab_size: int = 8000
    phrases: Path | None = None
    encoding: EncodingOptions = EncodingOptions()
    description: str = ""
    labels: tuple[str, ...] = ()
    views: Mapping[str, Mapping[str, tuple[int, ...] | None]] = dataclasses.field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Path of the finished dataset."""
        return self.out / self.name

    def all_options(self) -> dict[str, Any]:
        """Returns everything that determines the content, as JSON values.

        Raises:
          PreparationError: there is no such vocabulary file.
        """
        options = dict(self.options)
        if self.encoding:
            options |= dataclasses.asdict(self.encoding)
        if self.vocab is not None:
            if not self.vocab.is_file():
                raise PreparationError(f"--vocab {self.vocab}: no such file; leave it out to learn a vocabulary")
            options["vocab"] = f"sha256:{hashlib.sha256(self.vocab.read_bytes()).hexdigest()[:16]}"
        if self.phrases is not None:
            options |= PhraseTable(self.phrases).versions
        return dict(json.loads(json.dumps(options)))


def finished(plan: Plan) -> bool:
    """Returns whether the requested dataset exists already, so that there is nothing to do.

    Raises:
      PreparationError: the folder exists and is not a dataset of `svilm prepare`, or has other options.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", plan.name):
        raise PreparationError(f"name {plan.name!r}: expected lower-case letters, digits and _, a letter first")
    wanted = plan.all_options()
    if not plan.folder.exists():
        return False
    try:
        options = json.loads((plan.folder / SUMMARY).read_text(encoding="utf-8"))["options"]
    except (OSError, ValueError, KeyError) as error:
        raise PreparationError(
            f"{plan.folder}: exists and was not written by `svilm prepare` (no {SUMMARY}): give another --out or --name"
        ) from error
    if plan.overwrite:
        return False
    if options != wanted:
        changed = sorted(key for key in options.keys() | wanted.keys() if options.get(key) != wanted.get(key))
        shown = ", ".join(f"{key}={options.get(key)!r}, now {wanted.get(key)!r}" for key in changed)
        raise PreparationError(f"{plan.folder}: already prepared with {shown}: give --overwrite or another --out")
    print(f"{plan.folder}: already prepared as asked; --overwrite prepares it again")
    return True


def prepare(plan: Plan, splits: Mapping[str, Collection[Entry]], notes: Mapping[str, Any] | None = None) -> Path:
    """Prepares a dataset from its entries.

    Args:
      splits: entries in the order of their records on disk.
      notes: further facts for preparation.json and the summary.

    Returns:
      The folder of the dataset.

    Raises:
      PreparationError: too many unusable videos, no usable one, masks that do not match, no parser for noun phrases,
        another preparation running.
    """
    if finished(plan):
        return plan.folder
    if not any(len(entries) for entries in splits.values()):
        raise PreparationError(f"{plan.name}: no video to prepare")
    table = PhraseTable(plan.phrases) if plan.phrases else None
    versions = {name: importlib.metadata.version(name) for name in _VERSIONED}
    versions |= table.versions if table else parser_versions()
    with (
        building(plan.out, plan.name) as folder,
        journal(plan.out / f".{plan.name}.progress") as done,
        beam_working(plan.beam, done.folder / "beam") if plan.beam else working(plan.workers) as workers,
    ):
        # The vocabulary is written first: an error in it should not appear after an hour of videos.
        vocabulary = folder / "vocab.txt"
        if plan.vocab is not None:
            origin = _given_vocabulary(plan.vocab, vocabulary)
        checked = check_videos(splits, plan.encoding, done, workers, plan.max_skipped_fraction)
        if plan.vocab is None:
            origin = _learned_vocabulary(plan, checked, vocabulary)
        else:
            origin += unknown_fraction(load_tokenizer(vocabulary), checked)
        clips = sum(len(split) for split in checked.values())
        size = sum(int(split.bytes.sum()) for split in checked.values())
        captions, times = dict.fromkeys(checked, 0), {split: TimesOutside() for split in checked}
        _check_room(plan, size + OTHER_BYTES * clips)
        find_phrases(checked, done, workers, table)
        with tqdm(total=clips, desc="records", unit="clip", disable=None) as bar:
            records = {
                split: times[split].counted(
                    _records(split, held, done, table, captions, bar), held.seconds[held.usable].tolist()
                )
                for split, held in checked.items()
            }
            version = write_records(plan.name, records, folder, plan.description, OTHER_BYTES + size / clips)
        made = folder / plan.name
        views = _write_views(plan, checked, version / schema.VIEWS)
        _write_labels(plan, checked, made / schema.LABELS)
        _write_answers(checked, made / schema.ANSWERS)
        if vocabulary.is_file():
            vocabulary.rename(made / vocabulary.name)
        skipped, unusable = _write_skipped(splits, done, made / SKIPPED)
        summary = {
            "dataset": plan.name,
            "schema": schema.SCHEMA_VERSION,
            "command": plan.command,
            "options": plan.all_options(),
            "splits": {split: _counts(checked[split], captions[split]) for split in checked},
            "views": views,
            "unusable": unusable,
            "skipped": skipped,
            "vocabulary": origin,
            "notes": dict(notes or {}) | {k: v for split in checked for k, v in times[split].notes(split).items()},
            "versions": versions,
        }
        (made / SUMMARY).write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        _publish(made, plan.folder)
        done.remove()
    return plan.folder


def describe(folder: Path) -> str:
    """Formats the summary of a finished preparation."""
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    lines = [f"{folder}: {summary['vocabulary']}"]
    lines += [
        f"  {split}: {counts['clips']} clips, {counts['captions']} captions, {counts['seconds']:.0f} s of video"
        for split, counts in summary["splits"].items()
    ]
    for view, held in summary.get("views", {}).items():
        missing = f", {held['missing']} more are not there" if held["missing"] else ""
        lines.append(f"  view {view}: {held['clips']} clips{missing}")
    lines += [f"  {key}: {value}" for key, value in summary["notes"].items()]
    if skipped := summary["skipped"]:
        count = summary.get("unusable", len(skipped))
        lines.append(f"  skipped {count} unusable video{'s' * (count > 1)}:")
        lines += [f"    {told(item)}" for item in skipped[:TOLD]]
        if count > TOLD:
            lines.append(f"    and {count - TOLD} more: {folder / (SKIPPED if count > LISTED else SUMMARY)}")
    return "\n".join(lines)


@contextlib.contextmanager
def building(out: Path, name: str) -> Iterator[Path]:
    """Creates an empty folder to build `out/name` in, removed afterwards; one preparation of a name at a time.

    Raises:
      PreparationError: another process is preparing it, or `out` cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked_output(out / name))
        except LockError as error:
            raise PreparationError(str(error)) from error
        folder = out / f".{name}.incomplete"
        shutil.rmtree(folder, ignore_errors=True)  # of a killed preparation
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _check_room(plan: Plan, size: int) -> None:
    """Raises PreparationError if the disk has less space than the records will take."""
    usage = shutil.disk_usage(plan.out)
    if usage.total and usage.free < size:  # some network folders report no sizes
        raise PreparationError(
            f"{plan.out}: the records take about {size / 1e6:.1f} MB, and {usage.free / 1e6:.1f} MB are free. What was "
            "checked is kept: make room, and the same command resumes"
        )


def _publish(made: Path, folder: Path) -> None:
    """Moves the finished folder to its place; the one that it replaces is removed only then."""
    old = made.parent / "replaced"
    if folder.exists():
        folder.rename(old)
    made.rename(folder)


def _records(
    split: str, checked: Checked, notes: Journal, table: PhraseTable | None, captions: dict[str, int], bar: Any
) -> Iterator[schema.Record]:
    """Yields complete records, read from disk one at a time; counts their captions."""
    for entry, file, frames in with_phrases(checked, notes, table):
        yield dataclasses.replace(entry.record, video=file.read_bytes(), masks=read_masks(entry, frames))
        captions[split] += len(entry.record.captions)
        bar.update()


def _write_skipped(splits: Iterable[str], notes: Journal, path: Path) -> tuple[list[dict[str, str]], int]:
    """Returns the first skipped videos, and their number; writes all of them to a file if there are too many."""
    everything = notes.skipped(splits)
    listed = list(itertools.islice(everything, LISTED))
    further = next(everything, None)
    if further is None:
        return listed, len(listed)
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for item in itertools.chain(listed, [further], everything):
            file.write(json.dumps(item, ensure_ascii=False) + "\n")
            count += 1
    return listed, count


def _write_views(plan: Plan, checked: Mapping[str, Checked], path: Path) -> dict[str, dict[str, int]]:
    """Writes each view as [split, record number, caption numbers or null] rows; returns the number of rows of each."""
    if not plan.views:
        return {}
    place: dict[str, tuple[str, int]] = {}
    for split, held in checked.items():
        for number, (entry, _, _) in enumerate(held):
            place[entry.record.id] = (split, number)
    rows = {
        view: [
            [*place[name], None if captions is None else list(captions)]
            for name, captions in members.items()
            if name in place
        ]
        for view, members in plan.views.items()
    }
    path.write_text(json.dumps(rows) + "\n", encoding="utf-8")
    return {
        view: {"clips": len(rows[view]), "missing": len(members) - len(rows[view])}
        for view, members in plan.views.items()
    }


def _write_labels(plan: Plan, checked: Mapping[str, Checked], path: Path) -> None:
    """Writes the action classes, if there are any."""
    found = {action.label for held in checked.values() for entry, _, _ in held for action in entry.record.actions}
    if unknown := sorted(found - set(plan.labels)) if plan.labels else []:
        raise PreparationError(f"{plan.name}: labels {unknown[:5]} are not among the {len(plan.labels)} classes")
    if labels := list(plan.labels) or sorted(found):
        path.write_text(json.dumps(labels, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_answers(checked: Mapping[str, Checked], path: Path) -> None:
    """Writes the answers of the training split, which alone determines a model's answers, if there are any."""
    counts = collections.Counter(
        question.answer
        for split, held in checked.items()
        if split.endswith("train")
        for entry, _, _ in held
        for question in entry.record.questions
    )
    if counts:
        rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
        path.write_text(json.dumps(rows, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


def _given_vocabulary(given: Path, path: Path) -> str:
    """Copies a vocabulary to `path` and describes its origin."""
    try:
        tokenizer = load_tokenizer(given)
    except TokenizerError as error:
        raise PreparationError(f"--vocab: {error}") from error
    if tokenizer.kind != "wordpiece" or given.suffix != ".txt":
        raise PreparationError(
            f"--vocab {given}: expected a vocab.txt (WordPiece, one token per line); "
            "name other kinds in the config: tokenizer.path"
        )
    shutil.copyfile(given, path)
    return f"{tokenizer.vocab_size} tokens, given by --vocab"


def _learned_vocabulary(plan: Plan, checked: Mapping[str, Checked], path: Path) -> str:
    """Trains a vocabulary on training captions, or else on questions; describes its origin.

    Uses split `train`; in a dataset without it, all splits whose name ends so.
    """
    count = 0

    def texts(what: str) -> Iterator[str]:
        nonlocal count
        for split in ("train",) if "train" in checked else checked:
            if split.endswith("train"):
                for entry, _, _ in checked[split]:
                    record = entry.record
                    said = [caption.text for caption in record.captions]
                    if what == "questions":
                        said = [question.question for question in record.questions]
                    count += len(said)
                    yield from said

    what = next((kind for kind in ("captions", "questions") if any(True for _ in texts(kind))), "")
    if not what:
        return "none: no training captions or questions to learn one from"
    count = 0
    try:
        size = train_wordpiece(texts(what), plan.vocab_size, path)
    except TokenizerError as error:
        raise PreparationError(f"--vocab-size {plan.vocab_size}: {error}") from error
    return f"{size} tokens, learned from {count} training {what}"


def _counts(checked: Checked, captions: int) -> dict[str, Any]:
    return {
        "clips": len(checked),
        "captions": captions,
        "seconds": round(float(checked.seconds.sum()), 1),
        "bytes": int(checked.bytes.sum()),
    }
