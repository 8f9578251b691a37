"""Timed descriptions of DiDeMo.

`train_data.json`, `val_data.json`, `test_data.json`: a list of `{annotation_id, video, description, num_segments,
times}`. Annotators marked times in segments of five seconds, within the first 30 seconds: `[1, 4]` is from second 5 to
second 25. Every description has the marks of four annotators or more, and a caption has a single time: the one that
most of them marked; among ties, the one with the highest score of the official evaluation (the mean of its three
highest IoU with all marks); among further ties, the one listed first.
"""

import argparse
import collections
from collections.abc import Iterator, Mapping
from typing import Any

from svilm_data.annotations.moments import SegmentIssues, captioned, sentence
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import entries_of
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec, VideoAnnotation, facts, field
from svilm_data.annotations.split_files import in_one_split, split_files
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Caption, Record

FILES = {"train": ("train_data.json",), "validation": ("val_data.json",), "test": ("test_data.json",)}
PUBLISHED = {
    "train videos": 8395,
    "train descriptions": 33_005,
    "validation videos": 1065,
    "validation descriptions": 4180,
    "test videos": 1004,
    "test descriptions": 4021,
}
SEGMENT = 5.0  # seconds
LENGTH = 30.0  # seconds of a video that were shown to people
BEST = 3  # of the people's answers that the official score takes

Marked = tuple[int, int]


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads the files that exist.

    Raises:
      PreparationError: there is none, or an invalid entry.
    """
    found, notes = split_files(files, FILES, "descriptions")
    odd = SegmentIssues()
    splits, counts = {}, {}
    for split, file in found.items():
        splits[split] = captioned(_descriptions(file, split, odd))
        counts[f"{split} videos"] = len(splits[split])
        counts[f"{split} descriptions"] = sum(len(wanted.record.captions) for wanted in splits[split])
    in_one_split(splits)
    return Annotations(splits=splits, facts=facts(counts, PUBLISHED), notes=notes | odd.notes())


def chosen(marked: list[Marked]) -> Marked:
    """Returns the single time of a description, by the rule in the module docstring."""
    votes = collections.Counter(marked)
    return max(votes, key=lambda time: (votes[time], _score(time, marked)))  # of equals, max takes the first


def _score(time: Marked, marked: list[Marked]) -> float:
    best = sorted((_iou(time, other) for other in marked), reverse=True)[:BEST]
    return sum(best) / len(best)


def _iou(one: Marked, other: Marked) -> float:
    """Returns the IoU of two spans of segments, both ends included."""
    shared = max(0, min(one[1], other[1]) + 1 - max(one[0], other[0]))
    return shared / (max(one[1], other[1]) + 1 - min(one[0], other[0]))


def _descriptions(file: OfficialFile, split: str, odd: SegmentIssues) -> Iterator[tuple[VideoAnnotation, Caption]]:
    ids: set[int] = set()
    spelled: dict[str, set[str]] = collections.defaultdict(set)
    rows = []
    for where, row in entries_of(file.json(), file.where):
        number = field(row, "annotation_id", int, where)
        if number in ids:
            raise PreparationError(f"{where}, field 'annotation_id': {number} occurs twice in this file")
        ids.add(number)
        name = field(row, "video", str, where)
        stem = name.rpartition(".")[0] or name
        spelled[stem].add(name)
        time = chosen(_marked(row, where))
        text = sentence(field(row, "description", str, where), where)
        rows.append((stem, Caption(text, (), time[0] * SEGMENT, (time[1] + 1) * SEGMENT)))
    twice = sum(len(names) > 1 for names in spelled.values())
    odd.count(f"{split}: videos named with several file endings", "one video each", twice)
    for stem, caption in rows:
        # Annotators saw only the first half minute, so later video is not part of what the descriptions distinguish.
        yield VideoAnnotation(Record(id=stem, video=b""), (*sorted(spelled[stem]), stem), (0.0, LENGTH)), caption


def _marked(row: Mapping[str, Any], where: str) -> list[Marked]:
    segments = field(row, "num_segments", int, where)
    marked = field(row, "times", list, where)
    if not marked:
        raise PreparationError(f"{where}, field 'times': expected at least one [first, last], got none")
    for time in marked:
        fits = isinstance(time, list) and len(time) == 2 and all(type(number) is int for number in time)
        if not fits or not 0 <= time[0] <= time[1] < segments:
            raise PreparationError(
                f"{where}, field 'times': expected [first, last] of the segments 0 to {segments - 1}, got {time!r}"
            )
    return [(time[0], time[1]) for time in marked]


DATASET = DatasetSpec(
    name="didemo",
    help="DiDeMo: descriptions of moments in the first 30 seconds of Flickr videos; splits train, validation, test",
    files="train_data.json, val_data.json and test_data.json",
    read=read,
)
