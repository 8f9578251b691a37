"""Readers and writers of ActivityNet localization files: ground truth and submissions."""

import gzip
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from svilm_jax.evaluation.localization.metrics import Segments
from svilm_jax.evaluation.score_files import ScoreError, field, number, read_json, rows, string, table

# video id -> its (label, score, (start, end) in seconds)
Results = Mapping[str, Sequence[tuple[str, float, tuple[float, float]]]]


def read_ground_truth(path: str | Path, subset: str = "validation", blocked: Collection[str] = ()) -> Segments:
    """Reads the annotated segments of a subset, in file order.

    The format is `{"database": {id: {"subset": ..., "annotations": [{"label": ..., "segment": [start, end]}]}}}`;
    other keys are ignored. A segment of zero length is kept, as in the official evaluation.

    Args:
      path: JSON, gzipped or not.
      subset: "training", "validation" or "testing" in ActivityNet.
      blocked: ids of videos to leave out; the challenge keeps a list of those that went offline.

    Raises:
      ScoreError: another format, or no segment in that subset.
    """
    database = table(field(table(read_json(path), f"{path}"), "database", f"{path}"), f"{path}: database")
    videos: list[str] = []
    labels: list[str] = []
    times: list[tuple[float, float]] = []
    subsets: dict[str, None] = {}
    for video, entry in database.items():
        where = f"{path}: database: {video!r}"
        of = string(field(table(entry, where), "subset", where), f"{where}: subset")
        subsets[of] = None
        if of != subset or video in blocked:
            continue
        for place, annotation in enumerate(rows(field(entry, "annotations", where), f"{where}: annotations")):
            here = f"{where}: annotation {place}"
            label, segment = _label_and_segment(table(annotation, here), here)
            videos.append(video)
            labels.append(label)
            times.append(segment)
    if not videos:
        there = ", ".join(subsets) or "no videos"
        raise ScoreError(f"{path}: no annotated segment in subset {subset!r}; it has {there}")
    return Segments.of(videos, labels, times)


def read_submission(path: str | Path, blocked: Collection[str] = ()) -> Segments:
    """Reads the predictions of a submission with their scores, in file order.

    The format is `{"version": ..., "results": {id: [{"label": ..., "score": ..., "segment": [start, end]}]},
    "external_data": ...}`, of which only the results are read.

    Args:
      path: JSON, gzipped or not.
      blocked: ids of videos to leave out.

    Raises:
      ScoreError: another format, or a score or time that is not a finite number.
    """
    results = table(field(table(read_json(path), f"{path}"), "results", f"{path}"), f"{path}: results")
    videos: list[str] = []
    labels: list[str] = []
    times: list[tuple[float, float]] = []
    scores: list[float] = []
    for video, entries in results.items():
        if video in blocked:
            continue
        where = f"{path}: results: {video!r}"
        for place, prediction in enumerate(rows(entries, where)):
            here = f"{where}: prediction {place}"
            label, segment = _label_and_segment(table(prediction, here), here)
            scores.append(number(field(prediction, "score", here), f"{here}: score"))
            videos.append(video)
            labels.append(label)
            times.append(segment)
    return Segments.of(videos, labels, times, scores)


def write_submission(
    path: str | Path, results: Results, version: str = "VERSION 1.3", external_data: Mapping[str, Any] | None = None
) -> None:
    """Writes predictions in the format of the official evaluation; gzipped if the name ends in `.gz`.

    Args:
      path: file to write.
      results: predictions of every video, also of those without any.
      version: version of the dataset.
      external_data: declaration of other data used, required by the challenge: {"used": bool, "details": str}.

    Raises:
      ValueError: a score or time that is NaN or infinite, which is not JSON.
    """
    content = {
        "version": version,
        "results": {
            video: [
                {"label": label, "score": float(score), "segment": [float(start), float(end)]}
                for label, score, (start, end) in predictions
            ]
            for video, predictions in results.items()
        },
        "external_data": dict(external_data or {"used": False, "details": ""}),
    }
    raw = json.dumps(content, allow_nan=False).encode()
    # Without a time stamp in the header: the same predictions give the same bytes.
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(gzip.compress(raw, mtime=0) if str(path).endswith(".gz") else raw)


def read_blocked(path: str | Path) -> frozenset[str]:
    """Reads a JSON list of video ids.

    Raises:
      ScoreError: not a list of ids.
    """
    videos = rows(read_json(path), f"{path}")
    return frozenset(string(video, f"{path}: entry {place}") for place, video in enumerate(videos))


def _label_and_segment(entry: dict[str, Any], where: str) -> tuple[str, tuple[float, float]]:
    label = string(field(entry, "label", where), f"{where}: label")
    segment = rows(field(entry, "segment", where), f"{where}: segment")
    if len(segment) != 2:
        raise ScoreError(f"{where}: segment: expected [start, end], found {len(segment)} numbers")
    return label, (number(segment[0], f"{where}: segment"), number(segment[1], f"{where}: segment"))
