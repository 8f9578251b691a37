"""Timed sentences of Charades-STA.

`charades_sta_train.txt` and `charades_sta_test.txt` contain `VIDEO START END##SENTENCE`, in seconds. The durations in
`Charades_v1_train.csv` and `Charades_v1_test.csv`, if present, only serve to count times that do not fit.
"""

import argparse
import re
from collections.abc import Iterator

from svilm_data.annotations.moments import SegmentIssues, captioned, seconds, sentence, times
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import csv_rows
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec, VideoAnnotation, facts
from svilm_data.annotations.split_files import in_one_split, split_files
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Caption, Record

FILES = {"train": ("charades_sta_train.txt",), "test": ("charades_sta_test.txt",)}
LENGTHS = "Charades_v1_{}.csv"
PUBLISHED = {"train videos": 5338, "train sentences": 12_408, "test videos": 1334, "test sentences": 3720}


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads the files that exist.

    Raises:
      PreparationError: there is none, or an invalid line.
    """
    found, notes = split_files(files, FILES, "sentences")
    odd = SegmentIssues()
    splits, counts = {}, {}
    for split, file in found.items():
        lengths = read_lengths(files.optional(LENGTHS.format(split)))
        splits[split] = captioned(_lines(file, split, lengths, odd))
        counts[f"{split} videos"] = len(splits[split])
        counts[f"{split} sentences"] = sum(len(wanted.record.captions) for wanted in splits[split])
        if lengths:
            unknown = sum(wanted.record.id not in lengths for wanted in splits[split])
            odd.count(f"{split}: videos that {LENGTHS.format(split)} does not list", "length not checked", unknown)
        else:
            notes[f"{split}: lengths"] = f"not checked; {LENGTHS.format(split)} is not there"
    in_one_split(splits)
    return Annotations(splits=splits, facts=facts(counts, PUBLISHED), notes=notes | odd.notes())


def read_lengths(file: OfficialFile | None) -> dict[str, float]:
    """Reads video -> seconds; empty if there is no file.

    Raises:
      PreparationError: an invalid row, or a duplicate video.
    """
    lengths: dict[str, float] = {}
    for where, row in csv_rows(file, ("id", "length")) if file is not None else ():
        if row["id"] in lengths:
            raise PreparationError(f"{where}: video {row['id']!r} occurs twice in this file")
        lengths[row["id"]] = seconds(row["length"], where, "length")
    return lengths


def _lines(
    file: OfficialFile, split: str, lengths: dict[str, float], odd: SegmentIssues
) -> Iterator[tuple[VideoAnnotation, Caption]]:
    for where, line in file.lines():
        if not line.strip():
            continue
        parts = re.fullmatch(r"(\S+) (\S+) (\S+?)##(.*)", line.strip())
        if parts is None:
            raise PreparationError(f"{where}: expected 'VIDEO START END##SENTENCE', got {line!r}")
        video, text = parts[1], sentence(parts[4], where)
        span = seconds(parts[2], where, "start"), seconds(parts[3], where, "end")
        caption = Caption(text, (), *times(span, where, odd, split, lengths.get(video)))
        yield VideoAnnotation(Record(id=video, video=b""), (video,)), caption


DATASET = DatasetSpec(
    name="charades_sta",
    help="Charades-STA: sentences about moments of home videos; splits train, test",
    files="charades_sta_train.txt and charades_sta_test.txt, with Charades_v1_train.csv and "
    "Charades_v1_test.csv if at hand",
    read=read,
)
