"""MSR-VTT annotations: videos, sentences and the full split; the protocols are in `protocols`.

    train_val_videodatainfo.json    7,010 videos, 140,200 sentences (in train_val_annotation.zip)
    test_videodatainfo.json         2,990 videos, 59,800 sentences (in test_videodatainfo.json.zip)
    MSRVTT_data.json                both in one, a widely shared form

each {"videos": [{"video_id", "split", "url", ...}], "sentences": [{"video_id", "caption", "sen_id"}]}. The videos are
already cut: "start time" and "end time" refer to the source video on YouTube. Clips of one source video share a group;
no source video is in two splits. Categories are not stored, since no task uses them.
"""

import argparse
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from svilm_data.annotations.captions.lists import CaptionLists
from svilm_data.annotations.grouping import group_adjacent
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import entries_of
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec, VideoAnnotation, count_checks, field
from svilm_data.datasets.msrvtt.names import record_id, video_names
from svilm_data.datasets.msrvtt.protocols import LISTS, read_protocols
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Record

SPLITS = {
    "train": "train",
    "validate": "validation",
    "val": "validation",
    "validation": "validation",
    "test": "test",
}
TRAIN_VALIDATION, TEST, WHOLE = "train_val_videodatainfo.json", "test_videodatainfo.json", "MSRVTT_data.json"
# Xu et al., CVPR 2016, and the readme of the annotations; source videos and captions per split were counted here.
PUBLISHED = {
    "videos": 10_000,
    "captions": 200_000,
    "sources": 7_180,
    "train videos": 6_513,
    "train captions": 130_260,
    "validation videos": 497,
    "validation captions": 9_940,
    "test videos": 2_990,
    "test captions": 59_800,
}


@dataclasses.dataclass
class Videos:
    """All videos of the files: record id -> split, and -> source video; and their captions."""

    split: dict[str, str] = dataclasses.field(default_factory=dict)
    source: dict[str, str] = dataclasses.field(default_factory=dict)
    captions: CaptionLists = dataclasses.field(default_factory=CaptionLists)


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads all annotation files; raises PreparationError for invalid content."""
    chosen, missing, unread = _choose_files(files)
    videos = Videos()
    for file in chosen:
        _read_videos(file, videos)
    splits = {
        split: group_adjacent(_annotation(videos, video) for video, of in videos.split.items() if of == split)
        for split in dict.fromkeys(SPLITS.values())
    }
    splits = {split: members for split, members in splits.items() if members}
    counts = {}
    if not missing:
        counts = {"videos": len(videos.split), "captions": videos.captions.rows}
        if all(videos.source[video] for video in videos.split):
            counts["sources"] = len(set(videos.source.values()))
    for split, members in splits.items():
        counts[f"{split} videos"] = len(members)
        counts[f"{split} captions"] = videos.captions.count(item.record.id for item in members)
    notes = videos.captions.notes(videos.split)
    if missing:
        notes["annotation"] = f"not found: {missing}: prepared without its videos"
    if unread:
        notes["annotation"] = f"not read: {unread}"
    protocols = read_protocols(files, videos.split, videos.captions.texts, complete=not missing)
    # The full split has view names as well, so that configs can name the protocol.
    full = {f"{split}_full": {item.record.id: None for item in members} for split, members in splits.items()}
    return Annotations(
        splits=splits,
        counts=count_checks(counts, PUBLISHED) | dict(protocols.counts),
        views={**full, **protocols.views},
        notes=notes | dict(protocols.notes),
    )


def _choose_files(files: OfficialFiles) -> tuple[list[OfficialFile], str, str]:
    """Returns the files to read, the name of the missing one, and of the redundant one."""
    parts = {
        name: files.find_optional(name, f"{name.removesuffix('.json')}.*json") for name in (TRAIN_VALIDATION, TEST)
    }
    present = [file for file in parts.values() if file is not None]
    missing = [name for name, file in parts.items() if file is None]
    whole = files.find_optional(WHOLE)
    if not missing:
        return present, "", whole.name if whole else ""
    if whole:
        return [whole], "", ", ".join(file.name for file in present)
    if not present:
        raise PreparationError(
            f"--annotations {files.root}: no annotation: expected {TRAIN_VALIDATION} and {TEST}, or {WHOLE}; plain, "
            ".gz or in an archive"
        )
    return present, missing[0], ""


def _read_videos(file: OfficialFile, videos: Videos) -> None:
    document = file.json()
    known: set[str] = set()
    for where, entry in _entries(document, "videos", file.where):
        video = record_id(field(entry, "video_id", str, where), f"{where}, field 'video_id'")
        if video in videos.split:
            raise PreparationError(f"{where}, field 'video_id': {video} occurs twice; expected each video once")
        split = field(entry, "split", str, where)
        if split not in SPLITS:
            raise PreparationError(f"{where}, field 'split': expected {', '.join(SPLITS)}, got {split!r}")
        known.add(video)
        videos.split[video] = SPLITS[split]
        url = field(entry, "url", str, where) if "url" in entry else ""
        videos.source[video] = url.rpartition("?v=")[2].rpartition("/")[2]
    numbers: set[int] = set()
    for where, entry in _entries(document, "sentences", file.where):
        video = record_id(field(entry, "video_id", str, where), f"{where}, field 'video_id'")
        if video not in known:
            raise PreparationError(f"{where}, field 'video_id': {video} is not a video of this file")
        if "sen_id" in entry:
            number = field(entry, "sen_id", int, where)
            if number in numbers:
                raise PreparationError(f"{where}, field 'sen_id': {number} occurs twice; expected each sentence once")
            numbers.add(number)
        videos.captions.add(video, field(entry, "caption", str, where))


def _entries(document: Any, key: str, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return entries_of(field(document, key, list, where), f"{where}: {key}")


def _annotation(videos: Videos, video: str) -> VideoAnnotation:
    record = Record(id=video, video=b"", captions=videos.captions.captions(video), group=videos.source[video])
    return VideoAnnotation(record, video_names(video))


DATASET = DatasetSpec(
    name="msrvtt",
    help="MSR-VTT: 10,000 clips with 20 captions each; full split, 7k, 9k and 1k-A",
    files=f"{TRAIN_VALIDATION} and {TEST} (or {WHOLE}), {', '.join(LISTS.values())} and MSRVTT_JSFUSION_test.csv",
    read=read,
)
