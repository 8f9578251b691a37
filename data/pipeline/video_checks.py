"""Checks of all videos of a dataset: decodes each file as training would, and re-encodes it if requested."""

import collections
import dataclasses
import functools
import os
import uuid
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from svilm_data.annotations.entries import Entry
from svilm_data.pipeline.decode_check import check_video
from svilm_data.pipeline.errors import FULL_DISK, PreparationError, is_full_disk
from svilm_data.pipeline.journal import JobResult, Journal, video_key
from svilm_data.pipeline.transcoding import EncodingOptions, Window, transcode
from svilm_data.pipeline.workers import Mapper
from tqdm import tqdm

from svilm_jax.video.decoding import VideoError, VideoInfo, probe

CHUNK = 16  # files per task of a process
MAX_LISTED = 10  # unusable files named by an error
FOLDER_FILES = 1000  # re-encoded files per folder


@dataclasses.dataclass(frozen=True)
class CheckJob:
    """A file to check; `target` is None if its bytes are kept."""

    source: Path
    target: Path | None
    encoding: EncodingOptions
    window: Window | None = None

    def __str__(self) -> str:
        return str(self.source)


@dataclasses.dataclass(frozen=True)
class CheckedSplit:
    """One checked split. Arrays have one value per entry, usable or not.

    Attributes:
      entries: entries in the order of their records on disk.
      usable: bool [N].
      frames: int32 [N], number of frames as stated by the header of the file; 0: unknown.
      seconds: float64 [N].
      bytes: int64 [N], of the video as stored in the record.
      encoding: encoding of re-encoded videos.
      encoded: folder of re-encoded files.
    """

    entries: Collection[Entry]
    usable: np.ndarray
    frames: np.ndarray
    seconds: np.ndarray
    bytes: np.ndarray
    encoding: EncodingOptions
    encoded: Path

    def __len__(self) -> int:
        return int(self.usable.sum())

    def __iter__(self) -> Iterator[tuple[Entry, Path, int]]:
        """Yields usable entries, the file that becomes the record's video, and its number of frames (0: unknown)."""
        for number, entry in enumerate(self.entries):
            if self.usable[number]:
                yield entry, self.target(entry, number) or entry.video, int(self.frames[number])

    def target(self, entry: Entry, number: int) -> Path | None:
        """Returns the path of an entry's re-encoded video; None if the bytes of its file are kept."""
        if not self.encoding and entry.window is None:
            return None
        return self.encoded / f"{number // FOLDER_FILES:06d}" / f"{number % FOLDER_FILES:03d}.mp4"

    def set(self, number: int, result: JobResult) -> None:
        """Stores the result for entry `number`."""
        self.usable[number] = not result.reason
        self.frames[number], self.seconds[number], self.bytes[number] = result.frames, result.seconds, result.bytes


def check_videos(
    splits: Mapping[str, Collection[Entry]],
    encoding: EncodingOptions,
    journal: Journal,
    workers: Mapper,
    max_skipped_fraction: float,
) -> dict[str, CheckedSplit]:
    """Checks, and re-encodes, the videos of all splits except those in the journal.

    Args:
      splits: entries of each split.
      encoding: target encoding; by default bytes are kept.
      journal: receives the results, including the reasons for unusable videos, and re-encoded files.
      workers: run the checks.
      max_skipped_fraction: maximum fraction of unusable videos.

    Returns:
      The splits that have a usable video.

    Raises:
      PreparationError: more videos are unusable than allowed, or all of them.
    """
    total = sum(len(entries) for entries in splits.values())
    journal.begin({split: len(entries) for split, entries in splits.items()})
    checked = {}
    with tqdm(total=total, desc="re-encoding" if encoding else "checking videos", unit="video", disable=None) as bar:
        for split, entries in splits.items():
            state = _check_split(split, entries, encoding, journal, workers, bar)
            if len(state):
                checked[split] = state
    skipped = total - sum(len(state) for state in checked.values())
    if not checked or skipped > max_skipped_fraction * total:
        first = list(zip(range(MAX_LISTED), journal.skipped(splits), strict=False))
        listed = "".join(f"\n  {format_skipped(item)}" for _, item in first)
        more = f"\n  and {skipped - MAX_LISTED} more" if skipped > MAX_LISTED else ""
        allowed = (
            f", more than the fraction {max_skipped_fraction:g} allowed by --max-skipped-fraction" if checked else ""
        )
        raise PreparationError(f"{skipped} of {total} videos are unusable{allowed}:{listed}{more}")
    return checked


def _check_split(
    split: str, entries: Collection[Entry], encoding: EncodingOptions, journal: Journal, workers: Mapper, bar: Any
) -> CheckedSplit:
    count = len(entries)
    state = CheckedSplit(
        entries,
        np.zeros(count, np.bool_),
        np.zeros(count, np.int32),
        np.zeros(count, np.float64),
        np.zeros(count, np.int64),
        encoding,
        journal.encoded / split,
    )
    done = np.zeros(count, np.bool_)
    # Known results first, then the others, in separate passes: results are yielded in order, so that in one pass
    # finished work would wait in memory while a million known videos are skipped.
    if journal.has_split(split):
        for number, entry in enumerate(entries):
            result = journal.checked(split, number, video_key(entry, encoding))
            if result is not None and _is_complete(state.target(entry, number), result):
                state.set(number, result)
                done[number] = True
        bar.update(int(done.sum()))
        if done.any():
            tqdm.write(f"{split}: {done.sum()} of {count} videos were checked earlier")
    pending: collections.deque[tuple[int, bytes, str, str]] = collections.deque()

    def jobs() -> Iterator[CheckJob]:
        for number, entry in enumerate(entries):
            if not done[number]:
                # State of the file before it is read: a file that changes meanwhile counts as changed.
                pending.append((number, video_key(entry, encoding), entry.record.id, entry.video.name))
                yield CheckJob(entry.video, state.target(entry, number), encoding, entry.window)

    whole = not encoding and not any(entry.window for entry, _ in zip(entries, range(1), strict=False))
    for result in workers.map(check_file, jobs(), task="checking videos", chunk=CHUNK if whole else 1):
        number, source, name, file = pending.popleft()
        result = JobResult(*result)
        journal.record_check(split, number, source, name, file, result)
        state.set(number, result)
        bar.update()
    return state


def _is_complete(target: Path | None, result: JobResult) -> bool:
    """Returns whether the re-encoded file of a known result is complete; True if there is none."""
    if target is None or result.reason:
        return True
    return target.is_file() and target.stat().st_size == result.bytes


def format_skipped(item: Mapping[str, str]) -> str:
    """Formats a skipped video and the reason."""
    video, file = item["video"], item["file"]
    name = video.rpartition("/")[2]
    label = video + file.removeprefix(name) if file.startswith(name) else f"{video} ({file})"
    return f"{label}: {item['reason']}"


def check_file(job: CheckJob) -> JobResult:
    """Returns the result of checking one file; a re-encoded file is renamed to its final name when complete."""
    if job.window is None:
        info, reason = check_video(job.source)
        file = job.source
    else:
        # Checking all of a long file for each of its segments would take too long, and reading a segment reveals its
        # damage.
        info, reason = _probed(job.source)
    if info is not None and job.target is not None:
        file = job.target
        file.parent.mkdir(parents=True, exist_ok=True)
        begun = file.with_name(f"{file.stem}.{uuid.uuid4().hex}.part")  # a cluster may run the same job twice at once
        try:
            transcode(job.source, begun, job.encoding, info, job.window)
            info, reason = check_video(begun)
            if info is not None:
                with begun.open("rb+") as made:
                    os.fsync(made.fileno())
                begun.rename(file)
        except VideoError as error:
            if is_full_disk(error.__cause__):  # not a fault of the video: the next preparation tries again
                raise PreparationError(f"{file.parent}: {FULL_DISK}") from error
            info, reason = None, error.reason
        finally:
            begun.unlink(missing_ok=True)
    if info is None:
        return JobResult(0, 0.0, 0, reason)
    return JobResult(info.frames, info.duration, file.stat().st_size, "")


def _probed(path: Path) -> tuple[VideoInfo | None, str]:
    """Returns the properties of a file and "", or None and the reason why it is unusable."""
    try:
        stat = path.stat()
    except OSError:
        return None, "no such file"
    try:
        return _cached_probe(path, stat.st_size, stat.st_mtime_ns), ""
    except VideoError as error:
        return None, error.reason


@functools.lru_cache(maxsize=64)
def _cached_probe(path: Path, size: int, modified: int) -> VideoInfo:
    """Caches properties per state of a file: its segments come in sequence, and some containers are read as a whole."""
    return probe(path, name=path.name)
