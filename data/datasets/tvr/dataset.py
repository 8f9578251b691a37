"""Timed queries of TVR.

`tvr_train_release.jsonl`, `tvr_val_release.jsonl`: `{vid_name, duration, ts: [start, end], desc, type, desc_id}`.
`tvr_test_public_release.jsonl` has only the queries, without their clips, so that no records can be made of them; they
are counted. The clips are those of TVQA.
"""

import argparse
import collections
from collections.abc import Iterator

from svilm_data.annotations.grouping import group_adjacent
from svilm_data.annotations.issues import IssueCounter
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import json_lines
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec, VideoAnnotation, count_checks, field
from svilm_data.annotations.segment_times import group_captions, parse_segment, parse_sentence
from svilm_data.annotations.split_files import check_disjoint, split_files
from svilm_data.annotations.tv_clips import tv_clip
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Caption

FILES = {
    "train": ("tvr_train_release.jsonl",),
    "validation": ("tvr_val_release.jsonl",),
    "test_public": ("tvr_test_public_release.jsonl",),
}
LENGTHS, LENGTHS_OF = "tvr_video2dur_idx.json", {"train": "train", "validation": "val"}
PUBLISHED = {
    "train videos": 17_435,
    "train queries": 87_175,
    "validation videos": 2179,
    "validation queries": 10_895,
    "test_public queries": 5445,
}
TYPES = {"v": "video only", "t": "subtitles only", "vt": "video and subtitles"}


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads the files that exist.

    Raises:
      PreparationError: there is none, no query names a clip, or an invalid line.
    """
    found, notes = split_files(files, FILES, "queries")
    issues = IssueCounter()
    splits, counts = {}, {}
    for split, file in found.items():
        if split == "test_public":
            counts[f"{split} queries"] = _count_queries(file)
            notes[f"{split}: queries without a clip"] = (
                f"{counts[f'{split} queries']:,}; not stored, since they name no video"
            )
            continue
        kinds: collections.Counter[str] = collections.Counter()
        splits[split] = group_adjacent(group_captions(_queries(file, split, kinds, issues)))
        counts[f"{split} videos"] = len(splits[split])
        counts[f"{split} queries"] = sum(len(video.record.captions) for video in splits[split])
        notes[f"{split}: queries by type"] = ", ".join(f"{TYPES[kind]} {kinds[kind]:,}" for kind in TYPES)
    if not splits:
        raise PreparationError(f"--annotations {files.root}: only queries of test_public, which name no video")
    check_disjoint(splits)
    _check_lengths(files.find_optional(LENGTHS), splits, issues)
    return Annotations(splits=splits, counts=count_checks(counts, PUBLISHED), notes=notes | issues.notes())


def _queries(
    file: OfficialFile, split: str, kinds: collections.Counter[str], issues: IssueCounter
) -> Iterator[tuple[VideoAnnotation, Caption]]:
    ids: set[int] = set()
    for where, row in json_lines(file):
        number = field(row, "desc_id", int, where)
        if number in ids:
            raise PreparationError(f"{where}, field 'desc_id': {number} occurs twice in this file")
        ids.add(number)
        span, kind = field(row, "ts", list, where), field(row, "type", str, where)
        if kind not in TYPES:
            raise PreparationError(f"{where}, field 'type': expected {', '.join(TYPES)}, got {kind!r}")
        kinds[kind] += 1
        duration = float(field(row, "duration", (int, float), where))
        text = parse_sentence(field(row, "desc", str, where), where)
        video = tv_clip(field(row, "vid_name", str, where), "_seg")
        yield video, Caption(text, (), *parse_segment(span, f"{where}, field 'ts'", issues, split, duration))


def _count_queries(file: OfficialFile) -> int:
    count = 0
    for where, row in json_lines(file):
        parse_sentence(field(row, "desc", str, where), where)
        count += 1
    return count


def _check_lengths(file: OfficialFile | None, splits: dict[str, list[VideoAnnotation]], issues: IssueCounter) -> None:
    """Counts clips that are missing from the official list of clips, and clips of that list without a query."""
    if file is None:
        return
    lists = file.json()
    for split, videos in splits.items():
        listed = field(lists, LENGTHS_OF[split], dict, file.where).keys()
        named = {item.record.id for item in videos}
        issues.add(f"{split}: clips that {LENGTHS} does not list", "kept", count=len(named - listed))
        issues.add(f"{split}: clips of {LENGTHS} without a query", "not stored", count=len(listed - named))


DATASET = DatasetSpec(
    name="tvr",
    help="TVR: queries about moments of television clips; splits train, validation",
    files="tvr_train_release.jsonl and tvr_val_release.jsonl, with tvr_test_public_release.jsonl and "
    "tvr_video2dur_idx.json if available",
    read=read,
)
