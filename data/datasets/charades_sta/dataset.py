"""Timed sentences of Charades-STA.

`charades_sta_train.txt` and `charades_sta_test.txt` contain `VIDEO START END##SENTENCE`, in seconds. The durations in
`Charades_v1_train.csv` and `Charades_v1_test.csv`, if present, only serve to count times that do not fit.
"""

import argparse
import re
from collections.abc import Iterator

from svilm_data.annotations.issues import IssueCounter
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import csv_rows
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec, VideoAnnotation, count_checks
from svilm_data.annotations.segment_times import group_captions, parse_seconds, parse_segment, parse_sentence
from svilm_data.annotations.split_files import check_disjoint, split_files
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Caption, Record

FILES = {"train": ("charades_sta_train.txt",), "test": ("charades_sta_test.txt",)}
DURATION_FILES = "Charades_v1_{}.csv"
PUBLISHED = {"train videos": 5338, "train sentences": 12_408, "test videos": 1334, "test sentences": 3720}


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads the files that exist.

    Raises:
      PreparationError: there is none, or an invalid line.
    """
    found, notes = split_files(files, FILES, "sentences")
    issues = IssueCounter()
    splits, counts = {}, {}
    for split, file in found.items():
        durations = read_durations(files.find_optional(DURATION_FILES.format(split)))
        splits[split] = group_captions(_lines(file, split, durations, issues))
        counts[f"{split} videos"] = len(splits[split])
        counts[f"{split} sentences"] = sum(len(video.record.captions) for video in splits[split])
        if durations:
            unknown = sum(video.record.id not in durations for video in splits[split])
            issues.add(
                f"{split}: videos that {DURATION_FILES.format(split)} does not list",
                "duration not checked",
                count=unknown,
            )
        else:
            notes[f"{split}: durations"] = f"not checked; {DURATION_FILES.format(split)} not found"
    check_disjoint(splits)
    return Annotations(splits=splits, counts=count_checks(counts, PUBLISHED), notes=notes | issues.notes())


def read_durations(file: OfficialFile | None) -> dict[str, float]:
    """Reads video -> seconds; empty if there is no file.

    Raises:
      PreparationError: an invalid row, or a duplicate video.
    """
    durations: dict[str, float] = {}
    for where, row in csv_rows(file, ("id", "length")) if file is not None else ():
        if row["id"] in durations:
            raise PreparationError(f"{where}: video {row['id']!r} occurs twice in this file")
        durations[row["id"]] = parse_seconds(row["length"], where, "length")
    return durations


def _lines(
    file: OfficialFile, split: str, durations: dict[str, float], issues: IssueCounter
) -> Iterator[tuple[VideoAnnotation, Caption]]:
    for where, line in file.lines():
        if not line.strip():
            continue
        parts = re.fullmatch(r"(\S+) (\S+) (\S+?)##(.*)", line.strip())
        if parts is None:
            raise PreparationError(f"{where}: expected 'VIDEO START END##SENTENCE', got {line!r}")
        video, text = parts[1], parse_sentence(parts[4], where)
        span = parse_seconds(parts[2], where, "start"), parse_seconds(parts[3], where, "end")
        caption = Caption(text, (), *parse_segment(span, where, issues, split, durations.get(video)))
        yield VideoAnnotation(Record(id=video, video=b""), (video,)), caption


DATASET = DatasetSpec(
    name="charades_sta",
    help="Charades-STA: sentences about moments of home videos; splits train, test",
    files="charades_sta_train.txt and charades_sta_test.txt, with Charades_v1_train.csv and "
    "Charades_v1_test.csv if available",
    read=read,
)
