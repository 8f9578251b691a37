"""Shared preparation of published datasets: reads annotation files, finds the videos, and checks the counts.

A dataset's module turns `OfficialFiles` into `Annotations`; `prepare_dataset` finds the videos, checks the counts and
passes entries to `preparation.prepare`. The specifics of a dataset are in its `DatasetSpec` description.
"""

import argparse
import collections
import dataclasses
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from svilm_data.annotations.entries import Entry
from svilm_data.annotations.official_files import OfficialFiles
from svilm_data.pipeline.beam import parse_beam_options
from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.preparation import Plan, is_prepared, prepare
from svilm_data.pipeline.transcoding import EncodingOptions
from svilm_data.pipeline.video_folder import VideoFolder

from svilm_jax.input.schema import Record

View = Mapping[str, tuple[int, ...] | None]


@dataclasses.dataclass(frozen=True)
class VideoAnnotation:
    """A video as described by the annotation files, before its file is looked up.

    Attributes:
      record: record without video bytes, phrases and masks.
      names: possible names of its file, best first (`v_abc`, `abc.mp4`, `train/abc`).
      window: (start, end) seconds to cut out of the file; None: all of it.
      cut_names: possible names of a file that is already cut to the window; preferred if it exists.
    """

    record: Record
    names: tuple[str, ...]
    window: tuple[float, float] | None = None
    cut_names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class CountCheck:
    """A count in the annotation files, and its published value, if known."""

    count: int
    published: int | None = None


@dataclasses.dataclass(frozen=True)
class Annotations:
    """Content of a dataset's annotation files.

    Attributes:
      splits: the videos of each split as they are stored; a video is in one split. Any sized collection that can be
        iterated over several times.
      counts: name -> count, in the order in which they are printed.
      labels: action classes in their official order; (): those that occur, sorted.
      views: further splits over the same videos, name -> record id -> the captions that it uses, by number (None: all);
        in the order of the records. A view may take records from several splits.
      notes: irregularities, and their treatment.
    """

    splits: Mapping[str, Collection[VideoAnnotation]]
    counts: Mapping[str, CountCheck]
    labels: tuple[str, ...] = ()
    views: Mapping[str, View] = dataclasses.field(default_factory=dict)
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A published dataset.

    Attributes:
      name: name of the subcommand and of the folder.
      help: summary in one line.
      files: the annotation files that it needs, for `--help`.
      read: (files, parsed arguments) -> annotations.
      add_arguments: adds options specific to this dataset; their names must be in `options`.
      options: names of arguments that determine the content.
    """

    name: str
    help: str
    files: str
    read: Callable[[OfficialFiles, argparse.Namespace], Annotations]
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None
    options: tuple[str, ...] = ()


class ResolvedEntries(Collection[Entry]):
    """The videos of a split with their files; rebuilt each time it is iterated over."""

    def __init__(self, annotations: Collection[VideoAnnotation], videos: VideoFolder):
        self._annotations, self._videos = annotations, videos

    def __len__(self) -> int:
        return len(self._annotations)

    def __iter__(self) -> Iterator[Entry]:
        for item in self._annotations:
            cut = tuple(name for name in item.cut_names if self._videos.contains(name))
            window = None if cut else item.window
            yield Entry(item.record, self._videos.find(cut or item.names, item.record.id), window=window)

    def __contains__(self, entry: object) -> bool:
        return any(entry == other for other in self)


def prepare_dataset(dataset: DatasetSpec, args: argparse.Namespace) -> Path | None:
    """Prepares OUT/NAME, or with `--dry-run` only reports the content of the annotation files.

    Returns:
      The folder; None after a dry run.

    Raises:
      PreparationError: missing or invalid annotation files, counts that differ from the published ones (unless
        `--allow-other-counts`), too many missing or unusable videos.
    """
    files = OfficialFiles(args.annotations)
    annotations = dataset.read(files, args)
    annotations = dataclasses.replace(annotations, notes={**annotations.notes, **files.notes()})
    print(format_counts(dataset.name, annotations))
    check_counts(dataset.name, annotations, args.allow_other_counts)
    if args.dry_run:
        return None
    if args.videos is None or args.out is None:
        raise PreparationError("--videos and --out are required, unless --dry-run is given")
    options = {name: getattr(args, name) for name in dataset.options}
    options["facts"] = {name: check.count for name, check in annotations.counts.items()}
    command = f"svilm prepare {dataset.name} --annotations {shlex.quote(args.annotations.name)} --videos VIDEOS"
    plan = Plan(
        name=args.name or dataset.name,
        out=args.out,
        options=options,
        command=command + " --out OUT",
        workers=args.workers,
        beam=parse_beam_options(args.runner, args.beam_option),
        overwrite=args.overwrite,
        max_skipped_fraction=args.max_skipped_fraction,
        vocab=args.vocab,
        vocab_size=args.vocab_size,
        phrases=args.phrases,
        encoding=EncodingOptions(args.short_side, args.fps),
        description=dataset.help,
        labels=annotations.labels,
        views=annotations.views,
    )
    if is_prepared(plan):
        return plan.folder
    videos = VideoFolder(args.videos)
    entries = {split: ResolvedEntries(members, videos) for split, members in annotations.splits.items() if len(members)}
    return prepare(plan, entries, {**annotations.notes, **videos.left_out.notes()})


def format_counts(name: str, annotations: Annotations) -> str:
    """Formats counts with the published ones, and the notes."""
    lines = [f"{name}: content of the annotation files"]
    for counted, check in annotations.counts.items():
        published = "" if check.published is None else f" (published: {check.published:,})"
        differs = "" if check.published in (None, check.count) else "  <- differs"
        lines.append(f"  {counted}: {check.count:,}{published}{differs}")
    lines += [f"  note, {kind}: {text}" for kind, text in annotations.notes.items()]
    return "\n".join(lines)


def check_counts(name: str, annotations: Annotations, allowed: bool) -> None:
    """Raises PreparationError if a count differs from the published one, unless that is allowed."""
    wrong = [
        f"{counted} {check.count:,} instead of {check.published:,}"
        for counted, check in annotations.counts.items()
        if check.published is not None and check.count != check.published
    ]
    if wrong and not allowed:
        raise PreparationError(
            f"{name}: {'; '.join(wrong)}: the official files are incomplete or of another version. Download them "
            "again, or give --allow-other-counts to prepare a part of the dataset"
        )


def duplicates(ids: Collection[str]) -> list[str]:
    """Returns the ids that occur more than once, sorted."""
    return sorted(item for item, count in collections.Counter(ids).items() if count > 1)


def add_dataset_arguments(parser: argparse.ArgumentParser, dataset: DatasetSpec) -> None:
    """Adds the options of all published datasets."""
    parser.add_argument(
        "--annotations", type=Path, required=True, metavar="DIR", help=f"folder (or archive) with {dataset.files}"
    )
    parser.add_argument("--videos", type=Path, metavar="DIR", help="folder of the videos, searched recursively")
    parser.add_argument("--dry-run", action="store_true", help="read the annotation files, print the counts, and stop")
    parser.add_argument(
        "--allow-other-counts", action="store_true", help="continue if counts differ from the published ones"
    )
    parser.add_argument("--name", default="", help=f"dataset name (default: {dataset.name})")
    if dataset.add_arguments is not None:
        dataset.add_arguments(parser)


def count_checks(counts: Mapping[str, int], published: Mapping[str, int]) -> dict[str, CountCheck]:
    """Pairs counts with the published values of the same names."""
    return {name: CountCheck(count, published.get(name)) for name, count in counts.items()}


def field(row: Mapping[str, Any], name: str, kind: type | tuple[type, ...], where: str) -> Any:
    """Returns row[name], which must exist and be of a type.

    Raises:
      PreparationError: naming location, field and the expected type.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    expected = " or ".join(k.__name__ for k in kinds)
    if not isinstance(row, Mapping) or name not in row:
        raise PreparationError(f"{where}, field {name!r}: missing; expected {expected}")
    value = row[name]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise PreparationError(f"{where}, field {name!r}: expected {expected}, got {value!r}")
    return value
