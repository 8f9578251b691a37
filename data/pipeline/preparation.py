"""Preparation pipeline from entries to a TFDS dataset, shared by all datasets.

Entries (an annotation and the path of a video file) -> videos checked, unusable ones skipped and counted -> noun
phrases -> records -> TFDS with ArrayRecord, and in the same folder:

    OUT/NAME/<version>/          dataset_info.json, features.json, NAME-train.array_record-*, views.json
    OUT/NAME/preparation.json    options, counts, skipped files with reasons, versions
    OUT/NAME/skipped.jsonl       all skipped files, if there are too many for preparation.json
    OUT/NAME/vocab.txt           WordPiece vocabulary, given or trained on the training captions (or questions)
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
import json
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from svilm_data.annotations.captions.noun_phrases import PhraseTable, parser_versions
from svilm_data.annotations.captions.phrase_extraction import attach_phrases, extract_phrases
from svilm_data.annotations.captions.times import OutOfRangeTimes
from svilm_data.annotations.entries import Entry, read_masks
from svilm_data.pipeline.beam import BeamOptions, open_beam_workers
from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.journal import Journal, open_journal
from svilm_data.pipeline.metadata_files import (
    SKIPPED,
    count_texts,
    describe,
    split_summary,
    write_answers,
    write_labels,
    write_skipped,
    write_views,
)
from svilm_data.pipeline.record_writer import write_records
from svilm_data.pipeline.transcoding import EncodingOptions
from svilm_data.pipeline.video_checks import CheckedSplit, check_videos
from svilm_data.pipeline.vocabulary import copy_vocabulary, coverage_note, train_vocabulary
from svilm_data.pipeline.workers import open_workers
from tqdm import tqdm

from svilm_jax.filesystem.locks import LockError, locked_output
from svilm_jax.input import schema
from svilm_jax.text.tokenizers import load_tokenizer

__all__ = ["BeamOptions", "EncodingOptions", "Entry", "Plan", "PreparationError", "describe", "is_prepared", "prepare"]

OTHER_BYTES = 2000  # bytes per record besides its video: captions, phrases, packed masks
_VERSIONED = ("svilm_jax", "tensorflow-datasets", "array-record", "av", "numpy", "tokenizers")


@dataclasses.dataclass(frozen=True)
class Plan:
    """Description of a preparation.

    Attributes:
      name: name of the dataset and of its folder.
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
      phrases: a JSON file with the noun phrases of every caption (`PhraseTable`); None: spaCy extracts them.
      encoding: target encoding; by default the bytes of the files are kept.
      description: text for dataset_info.json.
      labels: action classes in their order; (): those that occur, sorted.
      views: further splits over the same records, see `Annotations.views`.
    """

    name: str
    out: Path
    options: Mapping[str, Any]
    command: str
    workers: int = 2
    beam: BeamOptions | None = None
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
          PreparationError: the vocabulary or the phrase file does not exist or is invalid.
        """
        options = dict(self.options)
        if self.encoding:
            options |= dataclasses.asdict(self.encoding)
        if self.vocab is not None:
            if not self.vocab.is_file():
                raise PreparationError(f"--vocab {self.vocab}: no such file; without --vocab a vocabulary is trained")
            options["vocab"] = f"sha256:{hashlib.sha256(self.vocab.read_bytes()).hexdigest()[:16]}"
        if self.phrases is not None:
            options |= PhraseTable(self.phrases).versions
        return dict(json.loads(json.dumps(options)))


def is_prepared(plan: Plan) -> bool:
    """Returns whether the requested dataset exists already, so that there is nothing to do.

    Raises:
      PreparationError: the folder exists and is not a dataset of `svilm prepare`, or has other options.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", plan.name):
        raise PreparationError(f"name {plan.name!r}: expected lower-case letters, digits and _, a letter first")
    requested = plan.all_options()
    if not plan.folder.exists():
        return False
    try:
        options = json.loads((plan.folder / schema.SUMMARY).read_text(encoding="utf-8"))["options"]
    except (OSError, ValueError, KeyError) as error:
        raise PreparationError(
            f"{plan.folder}: exists and was not written by `svilm prepare` (no {schema.SUMMARY}); give another --out "
            "or --name"
        ) from error
    if plan.overwrite:
        return False
    if options != requested:
        changed = sorted(key for key in options.keys() | requested.keys() if options.get(key) != requested.get(key))
        differences = ", ".join(f"{key}={options.get(key)!r}, now {requested.get(key)!r}" for key in changed)
        raise PreparationError(f"{plan.folder}: already prepared with {differences}; give --overwrite or another --out")
    print(f"{plan.folder}: already prepared with these options; --overwrite prepares it again")
    return True


def prepare(plan: Plan, splits: Mapping[str, Collection[Entry]], notes: Mapping[str, Any] | None = None) -> Path:
    """Prepares a dataset from its entries.

    Args:
      plan: name, output folder and options.
      splits: entries in the order of their records on disk.
      notes: further notes for preparation.json and the summary.

    Returns:
      The folder of the dataset.

    Raises:
      PreparationError: too many unusable videos, no usable one, masks that do not match, no parser for noun phrases,
        another preparation running.
    """
    if is_prepared(plan):
        return plan.folder
    if not any(len(entries) for entries in splits.values()):
        raise PreparationError(f"{plan.name}: no video to prepare")
    table = PhraseTable(plan.phrases) if plan.phrases else None
    versions = {name: importlib.metadata.version(name) for name in _VERSIONED}
    versions |= table.versions if table else parser_versions()
    with (
        build_directory(plan.out, plan.name) as folder,
        open_journal(plan.out / f".{plan.name}.progress") as journal,
        open_beam_workers(plan.beam, journal.folder / "beam") if plan.beam else open_workers(plan.workers) as workers,
    ):
        # The vocabulary is checked first: an error in it should not appear after an hour of videos.
        vocabulary = folder / "vocab.txt"
        if plan.vocab is not None:
            origin = copy_vocabulary(plan.vocab, vocabulary)
        checked = check_videos(splits, plan.encoding, journal, workers, plan.max_skipped_fraction)
        if plan.vocab is None:
            origin = train_vocabulary(checked, plan.vocab_size, vocabulary)
        else:
            origin += coverage_note(load_tokenizer(vocabulary), checked)
        clips = sum(len(split) for split in checked.values())
        size = sum(int(split.bytes.sum()) for split in checked.values())
        texts = {split: collections.Counter[str]() for split in checked}
        times = {split: OutOfRangeTimes() for split in checked}
        _check_disk_space(plan, size + OTHER_BYTES * clips)
        extract_phrases(checked, journal, workers, table)
        with tqdm(total=clips, desc="records", unit="clip", disable=None) as bar:
            records = {
                split: times[split].counted(
                    _records(state, journal, table, texts[split], bar), state.seconds[state.usable].tolist()
                )
                for split, state in checked.items()
            }
            version = write_records(plan.name, records, folder, plan.description, OTHER_BYTES + size / clips)
        dataset = folder / plan.name
        views = write_views(plan.views, checked, version / schema.VIEWS)
        write_labels(plan.labels, checked, dataset / schema.LABELS)
        write_answers(checked, dataset / schema.ANSWERS)
        if vocabulary.is_file():
            vocabulary.rename(dataset / vocabulary.name)
        skipped, unusable = write_skipped(splits, journal, dataset / SKIPPED)
        summary = {
            "dataset": plan.name,
            "schema": schema.SCHEMA_VERSION,
            "command": plan.command,
            "options": plan.all_options(),
            "splits": {split: split_summary(checked[split], texts[split]) for split in checked},
            "views": views,
            "unusable": unusable,
            "skipped": skipped,
            "vocabulary": origin,
            "notes": dict(notes or {}) | {k: v for split in checked for k, v in times[split].notes(split).items()},
            "versions": versions,
        }
        (dataset / schema.SUMMARY).write_text(
            json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        _publish(dataset, plan.folder)
        journal.remove()
    return plan.folder


@contextlib.contextmanager
def build_directory(out: Path, name: str) -> Iterator[Path]:
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
        shutil.rmtree(folder, ignore_errors=True)  # left by a killed preparation
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _check_disk_space(plan: Plan, size: int) -> None:
    """Raises PreparationError if the disk has less space than the records will take."""
    usage = shutil.disk_usage(plan.out)
    if usage.total and usage.free < size:  # some network folders report no sizes
        raise PreparationError(
            f"{plan.out}: the records take about {size / 1e6:.1f} MB, and {usage.free / 1e6:.1f} MB are free. Results "
            "so far are kept: free some space and repeat the command to resume"
        )


def _publish(built: Path, folder: Path) -> None:
    """Moves a finished folder to its final place; a replaced dataset is removed only afterwards."""
    old = built.parent / "replaced"
    if folder.exists():
        folder.rename(old)
    built.rename(folder)


def _records(
    checked: CheckedSplit, journal: Journal, table: PhraseTable | None, texts: collections.Counter[str], bar: Any
) -> Iterator[schema.Record]:
    """Yields complete records, read from disk one at a time; counts their captions and questions."""
    for entry, file, frames in attach_phrases(checked, journal, table):
        yield dataclasses.replace(entry.record, video=file.read_bytes(), masks=read_masks(entry, frames))
        texts.update(count_texts(entry.record))
        bar.update()
