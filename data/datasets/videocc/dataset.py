"""VideoCC annotations: one CSV file with a segment of a YouTube video and a caption per line, without a header.

    https://www.youtube.com/watch?v=abcdefghijk,12000000,22000000,"a dog, running"

Times are microseconds. Lines with the same segment are further captions of one record.
"""

import argparse
import csv
import re
import urllib.parse
from collections.abc import Iterator

from svilm_data.annotations.captions.table import CaptionTable, SegmentCaption
from svilm_data.annotations.captions.text import MAX_CHARACTERS, has_visible_text
from svilm_data.annotations.issues import LEFT_OUT, IssueCounter
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.published_dataset import Annotations, CountCheck, DatasetSpec
from svilm_data.pipeline.errors import PreparationError

FILE = "video_cc_public.csv"
COLUMNS = ("URL", "start", "end", "caption")
_ID = re.compile(r"[0-9A-Za-z_-]{11}")
_COMMON_URL = re.compile(
    r"https?://(?:www\.)?youtube\.com/watch\?v=([0-9A-Za-z_-]{11})"
)  # ten times faster than parsing
_SITES = ("youtube.com", "youtube-nocookie.com")


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads everything as training data; VideoCC has no other split.

    Raises:
      PreparationError: no such file, or an invalid line; names file, line and field.
    """
    table, issues = CaptionTable(cut_names), IssueCounter()
    table.add(captions(files.find_one(FILE, "video_cc*.csv", "videocc*.csv", description="list of VideoCC"), issues))
    if not len(table):
        raise PreparationError(f"--annotations {files.root}: no caption in {FILE}")
    counts = {"captions": table.captions, "clips": len(table), "videos": table.videos}
    return Annotations(
        {"train": table}, {name: CountCheck(count) for name, count in counts.items()}, notes=issues.notes()
    )


def captions(file: OfficialFile, issues: IssueCounter) -> Iterator[SegmentCaption]:
    """Yields the captions of the file, read as a stream; `issues` counts lines without a caption."""
    where = file.where

    def lines() -> Iterator[str]:
        nonlocal where
        for place, text in file.lines():
            where = place
            yield text + "\n"

    rows, first = csv.reader(lines(), strict=True), True
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise PreparationError(f"{where}: expected CSV with quoted captions ({error})") from error
        if row is None:
            return
        if row and not (first and _is_header(row)):
            caption = _caption(row, where, issues)
            if caption is not None:
                yield caption
        first = False


def youtube_id(url: str) -> str | None:
    """Returns the video id of a YouTube address; None for any other address."""
    if common := _COMMON_URL.fullmatch(url):
        return common[1]
    parts = urllib.parse.urlsplit(url if "//" in url else f"//{url}")
    host, path = (parts.hostname or "").lower(), parts.path.strip("/").split("/")
    name = None
    if host == "youtu.be":
        name = path[0]
    elif host.endswith(_SITES) and host.removesuffix(next(s for s in _SITES if host.endswith(s)))[-1:] in ("", "."):
        if path[0] == "watch":
            name = urllib.parse.parse_qs(parts.query).get("v", [None])[0]
        elif len(path) > 1 and path[0] in ("embed", "v", "shorts", "live"):
            name = path[1]
    return name if name is not None and _ID.fullmatch(name) else None


def cut_names(video: str, start: int, end: int) -> tuple[str, ...]:
    """Returns common file names of a segment that was cut on download: in micro- or in milliseconds."""
    return f"{video}_{start}_{end}", f"{video}_{start // 1000}_{end // 1000}"


def _caption(row: list[str], where: str, issues: IssueCounter) -> SegmentCaption | None:
    if len(row) != len(COLUMNS):
        raise PreparationError(f"{where}: {len(row)} columns; expected {len(COLUMNS)}: {', '.join(COLUMNS)}")
    try:
        name = youtube_id(row[0].strip())
    except ValueError:
        name = None
    if name is None:
        raise PreparationError(f"{where}, field 'URL': expected the address of a YouTube video, got {row[0]!r}")
    start, end = (_microseconds(row[k], COLUMNS[k], where) for k in (1, 2))
    text = " ".join(row[3].split())
    if not has_visible_text(text):
        issues.add("empty captions", LEFT_OUT, where)
        return None
    if len(text) > MAX_CHARACTERS:
        issues.add(f"captions of more than {MAX_CHARACTERS:,} characters", LEFT_OUT, where)
        return None
    if start >= end:
        issues.add("segments that end before they start", LEFT_OUT, where)
        return None
    return SegmentCaption(name, (start, end), text)


def _microseconds(text: str, column: str, where: str) -> int:
    value = text.strip()
    if not (value.isascii() and value.isdigit() and len(value) < 15):
        raise PreparationError(f"{where}, field {column!r}: expected whole microseconds, got {text!r}")
    return int(value)


def _is_header(row: list[str]) -> bool:
    """Returns whether a first line names the columns, as in some copies of the file."""
    return len(row) == len(COLUMNS) and not any(c.isdigit() for c in row[1] + row[2]) and "/" not in row[0]


DATASET = DatasetSpec(
    name="videocc",
    help="VideoCC: 10 million segments of web videos with captions of similar images",
    files=FILE,
    read=read,
)
