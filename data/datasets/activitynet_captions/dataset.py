"""Timed sentences of ActivityNet Captions.

`train.json`, `val_1.json`, `val_2.json`: `{id: {duration, timestamps: [[start, end], ...], sentences: [...]}}`. The two
validation files describe the same videos, by two annotators: the videos are stored once, with the captions of `val_1`
before those of `val_2`, and the views `val_1` and `val_2` select each annotator's captions by number.
"""

import argparse

from svilm_data.annotations.issues import IssueCounter
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec, VideoAnnotation, count_checks, field
from svilm_data.annotations.segment_times import parse_segment, parse_sentence, with_captions
from svilm_data.annotations.split_files import check_disjoint, json_entries, split_files
from svilm_data.datasets.activitynet.file_formats import video_annotation, video_id
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Caption

FILES = {"train": ("train.json",), "val_1": ("val_1.json",), "val_2": ("val_2.json",)}
PUBLISHED = {
    "train videos": 10_009,
    "train sentences": 37_421,
    "val_1 videos": 4917,
    "val_1 sentences": 17_505,
    "val_2 videos": 4885,
    "val_2 sentences": 17_031,
}

TimedCaptions = dict[str, tuple[float, list[Caption]]]


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads the files that exist.

    Raises:
      PreparationError: there is none, or an invalid entry.
    """
    found, notes = split_files(files, FILES, "sentences")
    issues = IssueCounter()
    captioned = {name: _read(file, name, issues) for name, file in found.items()}
    splits = {"train": [_annotation(video, captions) for video, (_, captions) in captioned.get("train", {}).items()]}
    first, second = captioned.get("val_1", {}), captioned.get("val_2", {})
    both: dict[str, list[Caption]] = {video: list(captions) for video, (_, captions) in first.items()}
    views: dict[str, dict[str, tuple[int, ...] | None]] = {name: {} for name in ("val_1", "val_2") if name in found}
    for video in first:
        views["val_1"][f"v_{video}"] = tuple(range(len(both[video])))
    for video, (duration, captions) in second.items():
        before = both.setdefault(video, [])
        views["val_2"][f"v_{video}"] = tuple(range(len(before), len(before) + len(captions)))
        before += captions
        if video in first and first[video][0] != duration:
            issues.add("videos whose duration differs between val_1 and val_2", "both kept for their own sentences")
    splits["validation"] = [_annotation(video, captions) for video, captions in both.items()]
    check_disjoint(splits)
    if len(views) == 2:
        issues.add("validation: videos only in val_1", "in view val_1 only", count=len(first.keys() - second))
        issues.add("validation: videos only in val_2", "in view val_2 only", count=len(second.keys() - first))
    counts = {}
    for name, videos in captioned.items():
        counts[f"{name} videos"] = len(videos)
        counts[f"{name} sentences"] = sum(len(captions) for _, captions in videos.values())
    return Annotations(splits=splits, counts=count_checks(counts, PUBLISHED), views=views, notes=notes | issues.notes())


def _read(file: OfficialFile, name: str, issues: IssueCounter) -> TimedCaptions:
    captioned: TimedCaptions = {}
    for video, where, row in json_entries(file):
        duration = float(field(row, "duration", (int, float), where))
        spans, texts = field(row, "timestamps", list, where), field(row, "sentences", list, where)
        if len(spans) != len(texts) or not texts:
            raise PreparationError(
                f"{where}: {len(spans)} timestamps and {len(texts)} sentences: expected equal numbers"
            )
        captions = []
        for number, (span, text) in enumerate(zip(spans, texts, strict=True), 1):
            place = f"{where}, sentence {number}"
            if not isinstance(span, list):
                raise PreparationError(f"{place}, field 'timestamps': expected [start, end], got {span!r}")
            if not isinstance(text, str):
                raise PreparationError(f"{place}, field 'sentences': expected text, got {text!r}")
            captions.append(
                Caption(parse_sentence(text, place), (), *parse_segment(span, place, issues, name, duration))
            )
        starts = [caption.start for caption in captions]
        if starts != sorted(starts):
            issues.add(f"{name}: videos whose sentences are not in temporal order", "kept in the order of the file")
        key = video_id(video)
        if key in captioned:
            raise PreparationError(f"{where}: this video occurs twice in this file")
        captioned[key] = (duration, captions)
    return captioned


def _annotation(video: str, captions: list[Caption]) -> VideoAnnotation:
    return with_captions(video_annotation(video), captions)


DATASET = DatasetSpec(
    name="activitynet_captions",
    help="ActivityNet Captions: a sentence with its time for every event; splits train, validation, views val_1, val_2",
    files="train.json, val_1.json and val_2.json",
    read=read,
)
