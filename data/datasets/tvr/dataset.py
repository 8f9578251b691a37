"""Timed queries of TVR.

`tvr_train_release.jsonl`, `tvr_val_release.jsonl`: `{vid_name, duration, ts: [start, end], desc, type, desc_id}`.
`tvr_test_public_release.jsonl` has only the queries, without their clips, so that no records can be made of them; they
are counted. The clips are those of TVQA.
"""

import argparse
import collections
from collections.abc import Iterator

from svilm_data.annotations.moments import SegmentIssues, captioned, sentence, times
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import json_lines
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec, VideoAnnotation, facts, field
from svilm_data.annotations.split_files import in_one_split, split_files
from svilm_data.annotations.television import by_group, clip
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
TYPES = {"v": "video alone", "t": "subtitles alone", "vt": "video and subtitles"}


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads the files that exist.

    Raises:
      PreparationError: there is none, none of them names a clip, or an invalid line.
    """
    found, notes = split_files(files, FILES, "queries")
    odd = SegmentIssues()
    splits, counts = {}, {}
    for split, file in found.items():
        if split == "test_public":
            counts[f"{split} queries"] = _count_queries(file)
            notes[f"{split}: queries without a clip"] = (
                f"{counts[f'{split} queries']:,}; not stored, they name no video"
            )
            continue
        kinds: collections.Counter[str] = collections.Counter()
        splits[split] = by_group(captioned(_queries(file, split, kinds, odd)))
        counts[f"{split} videos"] = len(splits[split])
        counts[f"{split} queries"] = sum(len(wanted.record.captions) for wanted in splits[split])
        notes[f"{split}: what queries are about"] = ", ".join(f"{TYPES[kind]} {kinds[kind]:,}" for kind in TYPES)
    if not splits:
        raise PreparationError(f"--annotations {files.root}: queries of test_public alone, which name no video")
    in_one_split(splits)
    _check_lengths(files.optional(LENGTHS), splits, odd)
    return Annotations(splits=splits, facts=facts(counts, PUBLISHED), notes=notes | odd.notes())


def _queries(
    file: OfficialFile, split: str, kinds: collections.Counter[str], odd: SegmentIssues
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
        text = sentence(field(row, "desc", str, where), where)
        wanted = clip(field(row, "vid_name", str, where), "_seg")
        yield wanted, Caption(text, (), *times(span, f"{where}, field 'ts'", odd, split, duration))


def _count_queries(file: OfficialFile) -> int:
    count = 0
    for where, row in json_lines(file):
        sentence(field(row, "desc", str, where), where)
        count += 1
    return count


def _check_lengths(file: OfficialFile | None, splits: dict[str, list[VideoAnnotation]], odd: SegmentIssues) -> None:
    """Counts clips that are missing from the official list of clips, and those of it without a query."""
    if file is None:
        return
    lists = file.json()
    for split, wanted in splits.items():
        listed = field(lists, LENGTHS_OF[split], dict, file.where).keys()
        named = {item.record.id for item in wanted}
        odd.count(f"{split}: clips that {LENGTHS} does not list", "kept", len(named - listed))
        odd.count(f"{split}: clips of {LENGTHS} without a query", "not stored", len(listed - named))


DATASET = DatasetSpec(
    name="tvr",
    help="TVR: queries about moments of television clips; splits train, validation",
    files="tvr_train_release.jsonl and tvr_val_release.jsonl, with tvr_test_public_release.jsonl and "
    "tvr_video2dur_idx.json if at hand",
    read=read,
)
