"""Readers of the three published file formats of ActivityNet.

- official: `activity_net.v1-3.min.json`, `{"version", "taxonomy", "database": {id: {duration, subset, annotations}}}`;
- TSP: `activitynet_v1-3_{train,valid}_tsp_groundtruth.csv`, one row per segment, with rows for the gaps between them,
  and `activitynet_v1-3_{train,valid,test}_metadata.csv`, one row per video;
- BSN: `anet_anno_action.json` with the segments and `video_info_new.csv` with the subsets.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from svilm_data.annotations.issues import IssueCounter
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import csv_rows
from svilm_data.annotations.published_dataset import VideoAnnotation, field
from svilm_data.annotations.segment_times import parse_seconds, parse_segment
from svilm_data.annotations.split_files import json_entries, split_files
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Action, Record

SUBSETS = {"training": "train", "validation": "validation", "testing": "test"}
TSP_PARTS = {"train": "train", "valid": "validation", "test": "test"}
TSP_COLUMNS = ("video-name", "t-start", "t-end", "action-label", "video-duration", "temporal-region-label")


@dataclasses.dataclass
class Video:
    """A video: its id without `v_`, its split, and (label, start, end) of its segments."""

    id: str
    split: str
    segments: list[tuple[str, float, float]]


@dataclasses.dataclass
class FileFormat:
    """Content of one format.

    Attributes:
      name: name of the format.
      videos: videos by id, in file order.
      labels: classes, sorted; (): the format has no list of its own.
      notes: what is missing.
      whole: whether the format is meant to cover the whole release.
    """

    name: str
    videos: dict[str, Video]
    labels: tuple[str, ...] = ()
    notes: dict[str, str] = dataclasses.field(default_factory=dict)
    whole: bool = True


def video_id(name: str) -> str:
    """Returns a video's YouTube id of 11 characters (possibly starting with `v_`) from a name that may add `v_`."""
    return name if len(name) == 11 else name.removeprefix("v_")


def video_annotation(name: str, actions: tuple[Action, ...] = ()) -> VideoAnnotation:
    """Returns the video of an id: its file may be named `v_ID` or `ID`, with any ending."""
    return VideoAnnotation(Record(id=f"v_{name}", video=b"", actions=actions), (f"v_{name}", name))


def read_official(file: OfficialFile, release: str, issues: IssueCounter) -> FileFormat:
    """Reads the official JSON document.

    Raises:
      PreparationError: another release, or invalid content.
    """
    document = file.json()
    version = field(document, "version", str, file.where)
    if release not in version:
        raise PreparationError(f"{file.where}, field 'version': expected release {release}, got {version!r}")
    labels = _leaves(field(document, "taxonomy", list, file.where), f"{file.where}: taxonomy")
    videos: dict[str, Video] = {}
    for name, where, row in json_entries(file, field(document, "database", dict, file.where), ": database"):
        subset = field(row, "subset", str, where)
        if subset not in SUBSETS:
            raise PreparationError(f"{where}, field 'subset': expected {' or '.join(SUBSETS)}, got {subset!r}")
        duration = float(field(row, "duration", (int, float), where))
        _add(videos, name, SUBSETS[subset], where).segments += _segments(row, where, issues, SUBSETS[subset], duration)
    for video in videos.values():
        unknown = {label for label, _, _ in video.segments} - set(labels)
        if labels and unknown:
            raise PreparationError(
                f"{file.where}: entry {video.id!r}: label {min(unknown)!r} is no leaf of the taxonomy"
            )
    return FileFormat("official JSON", videos, labels, whole="missing" not in file.name.lower())


def read_tsp(files: OfficialFiles, issues: IssueCounter) -> FileFormat | None:
    """Reads the tables of the TSP features; None if there are none.

    Raises:
      PreparationError: an invalid row.
    """
    truth = {f"{part} segments": (f"activitynet_v1-3_{part}_tsp_groundtruth.csv",) for part in ("train", "valid")}
    lists = {f"{part} videos": (f"activitynet_v1-3_{part}_metadata.csv",) for part in TSP_PARTS}
    if not files.find(*(name for names in (*truth.values(), *lists.values()) for name in names)):
        return None
    found, notes = split_files(files, truth | lists, "TSP tables")
    videos: dict[str, Video] = {}
    for what, file in found.items():
        part, _, kind = what.partition(" ")
        split = TSP_PARTS[part]
        if kind == "segments":
            _add_tsp_segments(file, split, videos, issues)
            continue
        for where, row in csv_rows(file, ("filename", "video-duration")):
            name = row["filename"].rpartition(".")[0] or row["filename"]
            known = videos.get(video_id(name))
            if known is None:
                _add(videos, name, split, where)
            elif known.split != split:
                raise PreparationError(f"{where}: {name!r} is in split {known.split} as well; expected one")
    labels: tuple[str, ...] = ()
    mapping = files.find_optional("activitynet_v1-3_action_label_mapping.json")
    if mapping is not None:
        listed = mapping.json()
        if not isinstance(listed, list) or not all(isinstance(label, str) for label in listed):
            raise PreparationError(f"{mapping.where}: expected a list of labels, got {json.dumps(listed)[:80]}")
        labels = tuple(listed)
    return FileFormat("TSP tables", videos, labels, notes)


def read_bsn(files: OfficialFiles, issues: IssueCounter) -> FileFormat | None:
    """Reads the files of BSN, which BMN and G-TAD use as well; None if there are none.

    Raises:
      PreparationError: one of the two is missing, or an invalid entry.
    """
    if not files.find("anet_anno_action.json", "video_info_new.csv"):
        return None
    subsets: dict[str, str] = {}
    for where, row in csv_rows(
        files.find_one("video_info_new.csv", description="list of subsets"), ("video", "subset")
    ):
        if row["subset"] not in SUBSETS:
            raise PreparationError(f"{where}, subset: expected {' or '.join(SUBSETS)}, got {row['subset']!r}")
        if row["video"] in subsets:
            raise PreparationError(f"{where}: video {row['video']!r} occurs twice in this file")
        subsets[row["video"]] = SUBSETS[row["subset"]]
    file = files.find_one("anet_anno_action.json", description="segments")
    videos: dict[str, Video] = {}
    for name, where, row in json_entries(file):
        if name not in subsets:
            raise PreparationError(f"{where}: is not in video_info_new.csv, so its subset is unknown")
        duration = float(field(row, "duration_second", (int, float), where))
        _add(videos, name, subsets[name], where).segments += _segments(row, where, issues, subsets[name], duration)
    if left := [name for name in subsets if video_id(name) not in videos]:
        raise PreparationError(f"{file.where}: no entry {left[0]!r}, which video_info_new.csv lists")
    return FileFormat("BSN files", videos, whole=False)


def _add(videos: dict[str, Video], name: str, split: str, where: str) -> Video:
    """Adds a video; names come with and without `v_`."""
    key = video_id(name)
    if not key or key in videos:
        raise PreparationError(f"{where}: video {name!r}: expected an id that occurs once")
    videos[key] = Video(key, split, [])
    return videos[key]


def _segments(
    row: Mapping[str, Any], where: str, issues: IssueCounter, split: str, duration: float
) -> Iterator[tuple[str, float, float]]:
    for number, item in enumerate(field(row, "annotations", list, where), 1):
        place = f"{where}, annotation {number}"
        label, segment = field(item, "label", str, place), field(item, "segment", list, place)
        yield (label, *parse_segment(segment, f"{place}, field 'segment'", issues, split, duration))


def _add_tsp_segments(file: OfficialFile, split: str, videos: dict[str, Video], issues: IssueCounter) -> None:
    for where, row in csv_rows(file, TSP_COLUMNS):
        name, region = row["video-name"], row["temporal-region-label"]
        video = videos.get(video_id(name)) or _add(videos, name, split, where)
        if video.split != split:
            raise PreparationError(f"{where}: {name!r} is in split {video.split} as well; expected one")
        if region == "No action":  # the gaps between segments, which TSP learns to distinguish
            issues.add(f"{split}: rows without action", "read, not stored")
            continue
        if region != "Action" or not row["action-label"]:
            raise PreparationError(f"{where}: expected 'Action' with a label or 'No action', got {region!r}")
        start, end, duration = (parse_seconds(row[key], where, key) for key in ("t-start", "t-end", "video-duration"))
        video.segments.append((row["action-label"], *parse_segment((start, end), where, issues, split, duration)))


def _leaves(taxonomy: list[Any], where: str) -> tuple[str, ...]:
    """Returns the names of the leaf nodes, sorted: the classes."""
    parents = {field(node, "parentId", (int, type(None)), where) for node in taxonomy}
    nodes = [(field(node, "nodeId", int, where), field(node, "nodeName", str, where)) for node in taxonomy]
    return tuple(sorted(name for number, name in nodes if number not in parents))
