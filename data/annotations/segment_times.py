"""Parsing and validation of official segment times and sentences, and grouping of captions by video.

Official times are kept, since published numbers were measured with them: evaluation and sampling clip a segment that
ends after its video. Irregular values are counted and reported, never corrected silently.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

from svilm_data.annotations.captions.text import MAX_CHARACTERS, has_visible_text
from svilm_data.annotations.issues import IssueCounter
from svilm_data.annotations.published_dataset import VideoAnnotation
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Caption

ROUNDING = 1e-3  # tolerance in seconds of a computed end beyond a rounded duration


def parse_segment(
    span: Sequence[Any], where: str, issues: IssueCounter, split: str, duration: float | None = None
) -> tuple[float, float]:
    """Returns (start, end) in seconds, start <= end.

    Args:
      span: [start, end].
      where: location of the segment, for errors.
      issues: counts segments that end before they start (their times are swapped: both were marked by a person, and the
        span between them is the same), that have zero length, and that end after the video.
      split: split that the counts are attributed to.
      duration: duration of the video in seconds, if known.

    Raises:
      PreparationError: not two finite nonnegative numbers.
    """
    if len(span) != 2:
        raise PreparationError(f"{where}: expected [start, end], got {span!r}")
    for name, value in zip(("start", "end"), span, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise PreparationError(f"{where}, {name}: expected seconds, at least 0, got {value!r:.80}")
    start, end = float(span[0]), float(span[1])
    if end < start:
        issues.add(f"{split}: segments that end before they start", "start and end swapped")
        start, end = end, start
    if end == start:
        issues.add(f"{split}: segments of zero length", "kept")
    if duration is not None and end > duration + ROUNDING:
        issues.add(f"{split}: segments that end after the stated duration", "kept")
    return start, end


def parse_seconds(text: str, where: str, name: str) -> float:
    """Parses a number of a text file; raises PreparationError if it is invalid."""
    try:
        return float(text)
    except ValueError as error:
        raise PreparationError(f"{where}, {name}: expected seconds, got {text!r}") from error


def parse_sentence(text: str, where: str) -> str:
    """Returns a stripped sentence in one line; raises PreparationError if it is empty or far too long."""
    words = " ".join(text.split())
    if not has_visible_text(words):
        raise PreparationError(f"{where}: expected a sentence, got {text!r}")
    if len(words) > MAX_CHARACTERS:
        raise PreparationError(f"{where}: expected a sentence, got {len(words):,} characters")
    return words


def group_captions(captions: Iterable[tuple[VideoAnnotation, Caption]]) -> list[VideoAnnotation]:
    """Returns the videos in order of first occurrence, each with its captions in file order.

    Args:
      captions: each with its video, whose own captions are ignored; other fields are those of the first occurrence.
    """
    videos: dict[str, VideoAnnotation] = {}
    texts: dict[str, list[Caption]] = {}
    for video, caption in captions:
        videos.setdefault(video.record.id, video)
        texts.setdefault(video.record.id, []).append(caption)
    return [with_captions(video, texts[name]) for name, video in videos.items()]


def with_captions(video: VideoAnnotation, captions: Iterable[Caption]) -> VideoAnnotation:
    """Returns the same video with these captions."""
    return dataclasses.replace(video, record=dataclasses.replace(video.record, captions=tuple(captions)))
