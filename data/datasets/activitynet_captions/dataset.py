"""Timed sentences of ActivityNet Captions.

`train.json`, `val_1.json`, `val_2.json`: `{id: {duration, timestamps: [[start, end], ...], sentences: [...]}}`. The two
validation files describe the same videos, by two annotators: the videos are stored once, with the captions of `val_1`
before those of `val_2`, and the views `val_1` and `val_2` select each annotator's captions by number.
"""

import argparse

from svilm_data.annotations.moments import SegmentIssues, sentence, times, with_captions
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec, VideoAnnotation, facts, field
from svilm_data.annotations.split_files import in_one_split, json_entries, split_files
from svilm_data.datasets.activitynet.file_formats import video_id, wanted_video
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

Described = dict[str, tuple[float, list[Caption]]]


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads the files that exist.

    Raises:
      PreparationError: there is none, or an invalid entry.
    """
    found, notes = split_files(files, FILES, "sentences")
    odd = SegmentIssues()
    described = {name: _read(file, name, odd) for name, file in found.items()}
    splits = {"train": [_wanted(video, captions) for video, (_, captions) in described.get("train", {}).items()]}
    first, second = described.get("val_1", {}), described.get("val_2", {})
    both: dict[str, list[Caption]] = {video: list(captions) for video, (_, captions) in first.items()}
    views: dict[str, dict[str, tuple[int, ...] | None]] = {name: {} for name in ("val_1", "val_2") if name in found}
    for video in first:
        views["val_1"][f"v_{video}"] = tuple(range(len(both[video])))
    for video, (duration, captions) in second.items():
        before = both.setdefault(video, [])
        views["val_2"][f"v_{video}"] = tuple(range(len(before), len(before) + len(captions)))
        before += captions
        if video in first and first[video][0] != duration:
            odd.count("videos whose duration differs between val_1 and val_2", "both kept for their own sentences")
    splits["validation"] = [_wanted(video, captions) for video, captions in both.items()]
    in_one_split(splits)
    if len(views) == 2:
        odd.count("validation: videos that val_1 alone describes", "in view val_1 alone", len(first.keys() - second))
        odd.count("validation: videos that val_2 alone describes", "in view val_2 alone", len(second.keys() - first))
    counts = {}
    for name, held in described.items():
        counts[f"{name} videos"] = len(held)
        counts[f"{name} sentences"] = sum(len(captions) for _, captions in held.values())
    return Annotations(splits=splits, facts=facts(counts, PUBLISHED), views=views, notes=notes | odd.notes())


def _read(file: OfficialFile, name: str, odd: SegmentIssues) -> Described:
    described: Described = {}
    for video, where, row in json_entries(file):
        duration = float(field(row, "duration", (int, float), where))
        spans, texts = field(row, "timestamps", list, where), field(row, "sentences", list, where)
        if len(spans) != len(texts) or not texts:
            raise PreparationError(
                f"{where}: {len(spans)} timestamps and {len(texts)} sentences: expected as many of one as of the other"
            )
        captions = []
        for number, (span, text) in enumerate(zip(spans, texts, strict=True), 1):
            place = f"{where}, sentence {number}"
            if not isinstance(span, list):
                raise PreparationError(f"{place}, field 'timestamps': expected [start, end], got {span!r}")
            if not isinstance(text, str):
                raise PreparationError(f"{place}, field 'sentences': expected text, got {text!r}")
            captions.append(Caption(sentence(text, place), (), *times(span, place, odd, name, duration)))
        starts = [caption.start for caption in captions]
        if starts != sorted(starts):
            odd.count(f"{name}: videos whose sentences are not in order of time", "kept in the order of the file")
        key = video_id(video)
        if key in described:
            raise PreparationError(f"{where}: this video occurs twice in this file")
        described[key] = (duration, captions)
    return described


def _wanted(video: str, captions: list[Caption]) -> VideoAnnotation:
    return with_captions(wanted_video(video), captions)


DATASET = DatasetSpec(
    name="activitynet_captions",
    help="ActivityNet Captions: a sentence with its time for every event; splits train, validation, views val_1, val_2",
    files="train.json, val_1.json and val_2.json",
    read=read,
)
