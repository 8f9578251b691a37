"""Timed descriptions of DiDeMo.

`train_data.json`, `val_data.json`, `test_data.json`: a list of `{annotation_id, video, description, num_segments,
times}`. Annotators marked times in segments of five seconds, within the first 30 seconds: `[1, 4]` is from second 5 to
second 25. Every description has the marks of four annotators or more, and a caption has a single time: the one that
most of them spans; among ties, the one with the highest score of the official evaluation (the mean of its three
highest IoU with all marks); among further ties, the one listed first.
"""

import argparse
import collections
from collections.abc import Iterator, Mapping
from typing import Any

from svilm_data.annotations.issues import IssueCounter
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import entries_of
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec, VideoAnnotation, count_checks, field
from svilm_data.annotations.segment_times import group_captions, parse_sentence
from svilm_data.annotations.split_files import check_disjoint, split_files
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
LENGTH = 30.0  # seconds of a video that annotators saw
BEST = 3  # number of annotations averaged by the official score

Span = tuple[int, int]


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads the files that exist.

    Raises:
      PreparationError: there is none, or an invalid entry.
    """
    found, notes = split_files(files, FILES, "descriptions")
    issues = IssueCounter()
    splits, counts = {}, {}
    for split, file in found.items():
        splits[split] = group_captions(_descriptions(file, split, issues))
        counts[f"{split} videos"] = len(splits[split])
        counts[f"{split} descriptions"] = sum(len(video.record.captions) for video in splits[split])
    check_disjoint(splits)
    return Annotations(splits=splits, counts=count_checks(counts, PUBLISHED), notes=notes | issues.notes())


def majority_time(spans: list[Span]) -> Span:
    """Returns the single time of a description, by the rule in the module docstring."""
    votes = collections.Counter(spans)
    return max(votes, key=lambda time: (votes[time], _score(time, spans)))  # max returns the first of equal ones


def _score(time: Span, spans: list[Span]) -> float:
    best = sorted((_iou(time, other) for other in spans), reverse=True)[:BEST]
    return sum(best) / len(best)


def _iou(one: Span, other: Span) -> float:
    """Returns the IoU of two spans of segments with inclusive ends."""
    shared = max(0, min(one[1], other[1]) + 1 - max(one[0], other[0]))
    return shared / (max(one[1], other[1]) + 1 - min(one[0], other[0]))


def _descriptions(file: OfficialFile, split: str, issues: IssueCounter) -> Iterator[tuple[VideoAnnotation, Caption]]:
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
        time = majority_time(_marked(row, where))
        text = parse_sentence(field(row, "description", str, where), where)
        rows.append((stem, Caption(text, (), time[0] * SEGMENT, (time[1] + 1) * SEGMENT)))
    twice = sum(len(names) > 1 for names in spelled.values())
    issues.add(f"{split}: videos named with several file endings", "one video each", count=twice)
    for stem, caption in rows:
        # Annotators saw only the first half minute, so later video is not part of what the descriptions distinguish.
        yield VideoAnnotation(Record(id=stem, video=b""), (*sorted(spelled[stem]), stem), (0.0, LENGTH)), caption


def _marked(row: Mapping[str, Any], where: str) -> list[Span]:
    segments = field(row, "num_segments", int, where)
    spans = field(row, "times", list, where)
    if not spans:
        raise PreparationError(f"{where}, field 'times': expected at least one [first, last], got none")
    for time in spans:
        fits = isinstance(time, list) and len(time) == 2 and all(type(number) is int for number in time)
        if not fits or not 0 <= time[0] <= time[1] < segments:
            raise PreparationError(
                f"{where}, field 'times': expected [first, last] of the segments 0 to {segments - 1}, got {time!r}"
            )
    return [(time[0], time[1]) for time in spans]


DATASET = DatasetSpec(
    name="didemo",
    help="DiDeMo: descriptions of moments in the first 30 seconds of Flickr videos; splits train, validation, test",
    files="train_data.json, val_data.json and test_data.json",
    read=read,
)
