"""Readers of video-level class scores from an external classifier, for temporal localization.

Proposal networks predict when an action happens and take its class from a video-level classifier (docs/method.md, 1.7):
each proposal yields one prediction for each of the video's top classes, with the product of both scores.
"""

from pathlib import Path
from typing import Any

import numpy as np

from svilm_jax.evaluation.score_files import ScoreError, field, number, read_json, rows, string, table

TOP = 2  # classes per video, as BSN, BMN and G-TAD take of the CUHK scores

_PREFIX = "v_"
_YOUTUBE_ID = 11  # characters


def read_video_classes(path: str | Path, top: int = TOP) -> dict[str, list[tuple[str, float]]]:
    """Reads video id -> its best classes with their scores, best first, at most `top`.

    Two formats, distinguished by their keys, gzipped or not:
      - `{"results": {id: [score, ...]}, "class": [label, ...]}`, scores of all classes, the shared form of CUHK's
        winning entry of 2017;
      - `{id: {"class": label, "score": score}}`, only the best class.

    Feature files name a video `v_ID` and ActivityNet names it `ID`; the returned ids have no `v_`. It is removed only
    if all ids of the file start with it and are longer than a YouTube id, since two ids in ActivityNet start with it.

    Raises:
      ScoreError: neither format, different numbers of scores and classes, a duplicate label, no videos.
    """
    content = table(read_json(path), f"{path}")
    if "results" in content and "class" in content:
        found = _all_scores(content, f"{path}", top)
    else:
        found = _best_alone(content, f"{path}", top)
    if not found:
        raise ScoreError(f"{path}: no videos")
    if all(video.startswith(_PREFIX) and len(video) != _YOUTUBE_ID for video in found):
        return {video.removeprefix(_PREFIX): classes for video, classes in found.items()}
    return found


def _all_scores(content: dict[str, Any], where: str, top: int) -> dict[str, list[tuple[str, float]]]:
    labels = [string(label, f"{where}: class") for label in rows(content["class"], f"{where}: class")]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise ScoreError(f"{where}: class: {twice[0]!r} occurs twice")
    found = {}
    for video, entry in table(content["results"], f"{where}: results").items():
        here = f"{where}: results: {video!r}"
        scores = np.array([number(score, here) for score in rows(entry, here)])
        if len(scores) != len(labels):
            raise ScoreError(f"{here}: {len(scores)} scores for {len(labels)} classes")
        best = np.argsort(-scores, kind="stable")[:top]
        found[video] = [(labels[i], float(scores[i])) for i in best]
    return found


def _best_alone(content: dict[str, Any], where: str, top: int) -> dict[str, list[tuple[str, float]]]:
    found = {}
    for video, entry in content.items():
        here = f"{where}: {video!r}"
        row = table(entry, here)
        label = string(field(row, "class", here), f"{here}: class")
        found[video] = [(label, number(field(row, "score", here), f"{here}: score"))][:top]
    return found
