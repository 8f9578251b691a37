"""HowTo100M records: whole videos with all of their transcript, or segments of equal length.

HowTo100M_v1.csv (video_id, category_1, category_2, rank, task_id) gives the topics of the videos; it is needed only to
select among them.
"""

import argparse
import math
from collections.abc import Collection, Iterator

from svilm_data.annotations.captions.table import MICROSECONDS, CaptionTable, SegmentCaption
from svilm_data.annotations.captions.text import MAX_CHARACTERS, has_visible_text
from svilm_data.annotations.issues import LEFT_OUT, IssueCounter
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import csv_rows
from svilm_data.annotations.published_dataset import Annotations, CountCheck, DatasetSpec
from svilm_data.datasets.howto100m.transcripts import SOURCES, Sentence, read_narrations
from svilm_data.pipeline.errors import PreparationError

LIST = "HowTo100M_v1.csv"
CATEGORY = "category_1"


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads everything as training data; HowTo100M has no other split.

    Raises:
      PreparationError: missing files, an invalid option, or invalid content; names file, video and field.
    """
    seconds = args.segment_seconds
    if seconds and not 1 <= seconds <= 3600:
        raise PreparationError(f"--segment-seconds {seconds}: expected 1 to 3600, or 0 for whole videos")
    selected = _videos_of(files.find_one(LIST, description="list of videos"), args.category) if args.category else None
    table, issues = CaptionTable(), IssueCounter()
    table.add(_captions(files, args.captions, selected, seconds, issues))
    if not len(table):
        raise PreparationError(f"--annotations {files.root}: no video has a nonempty narration")
    counts = {"captions": table.captions, "videos": table.videos}
    if seconds:
        counts["segments"] = len(table)
    return Annotations(
        {"train": table}, {name: CountCheck(count) for name, count in counts.items()}, notes=issues.notes()
    )


def _captions(
    files: OfficialFiles, source: str, selected: Collection[str] | None, seconds: int, issues: IssueCounter
) -> Iterator[SegmentCaption]:
    for video, where, sentences in read_narrations(files, source):
        if not video or "/" in video or "\\" in video:
            raise PreparationError(f"{where}: expected the id of a video, got {video!r}")
        if selected is not None and video not in selected:
            continue
        for sentence in sentences:
            text = " ".join(sentence.text.split())
            start = max(0.0, sentence.start)
            if not has_visible_text(text):
                issues.add("empty captions", LEFT_OUT, where)
            elif len(text) > MAX_CHARACTERS:
                issues.add(f"captions of more than {MAX_CHARACTERS:,} characters", LEFT_OUT, where)
            elif start >= sentence.end:
                issues.add("captions that end before they start", LEFT_OUT, where)
            elif seconds:
                yield _assign_segment(video, Sentence(start, sentence.end, text), seconds)
            else:
                yield SegmentCaption(video, None, text, start, sentence.end)


def _assign_segment(video: str, sentence: Sentence, seconds: int) -> SegmentCaption:
    """Assigns a caption to the segment that contains its midpoint, with times relative to it and clipped to it.

    It is not assigned to every segment that it touches: one second of a sentence does not depict its content.
    """
    first = math.floor((sentence.start + sentence.end) / 2 / seconds) * seconds
    segment = (first * MICROSECONDS, (first + seconds) * MICROSECONDS)
    return SegmentCaption(
        video, segment, sentence.text, max(0.0, sentence.start - first), min(float(seconds), sentence.end - first)
    )


def _videos_of(file: OfficialFile, categories: list[str]) -> frozenset[str]:
    """Returns the ids of the videos in first-level categories."""
    requested, known, ids = set(categories), set[str](), set[str]()
    for _, row in csv_rows(file, ("video_id", CATEGORY)):
        known.add(row[CATEGORY])
        if row[CATEGORY] in requested:
            ids.add(row["video_id"])
    if wrong := sorted(requested - known):
        raise PreparationError(f"--category {wrong[0]!r}: {file.where} has {', '.join(sorted(known)) or 'none'}")
    return frozenset(ids)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--captions",
        choices=tuple(SOURCES),
        default="",
        help="raw_caption.json, caption.json (without stop words) or one CSV file per video (default: the first of "
        "these that exists)",
    )
    parser.add_argument(
        "--segment-seconds",
        type=int,
        default=0,
        metavar="N",
        help="cut videos into segments of N seconds, and keep those with speech (default: 0, whole videos)",
    )
    parser.add_argument(
        "--category",
        action="append",
        default=[],
        metavar="NAME",
        help=f"only videos of this {CATEGORY} of {LIST}; may be given several times (default: all)",
    )


DATASET = DatasetSpec(
    name="howto100m",
    help="HowTo100M: 1.2 million narrated instruction videos with 136 million spoken captions",
    files="raw_caption.json, caption.json or a folder of <video id>.csv (and HowTo100M_v1.csv for --category)",
    read=read,
    add_arguments=_add_arguments,
    options=("captions", "segment_seconds", "category"),
)
