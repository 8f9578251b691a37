"""Video checks of a dataset: decodes each file as training would, and re-encodes it where requested."""

import collections
import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from svilm_data.annotations.entries import Entry
from svilm_data.pipeline.errors import FULL_DISK, PreparationError, is_full_disk
from svilm_data.pipeline.journal import JobResult, Journal, source_of_video
from svilm_data.pipeline.transcoding import EncodingOptions, Window, transcode
from svilm_data.pipeline.videos import check_video
from svilm_data.pipeline.workers import Mapper
from tqdm import tqdm

from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.video.decoding import VideoError, VideoInfo, probe

CHUNK = 16  # files per task of a process
SHOWN = 10  # number of unusable files listed in an error
FOLDER_FILES = 1000  # re-encoded files in one folder


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
class Checked:
    """One checked split. Arrays have one value per entry, usable or not.

    Attributes:
      entries: in the order of their records on disk.
      usable: bool [N].
      frames: int32 [N], as stated by the header of the file, 0 if it does not say.
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

    def put(self, number: int, result: JobResult) -> None:
        """Stores the result for entry `number`."""
        self.usable[number] = not result.reason
        self.frames[number], self.seconds[number], self.bytes[number] = result.frames, result.seconds, result.bytes


def check_videos(
    splits: Mapping[str, Collection[Entry]],
    encoding: EncodingOptions,
    journal: Journal,
    workers: Mapper,
    max_skipped_fraction: float,
) -> dict[str, Checked]:
    """Checks, and re-encodes, the videos of all splits except those in the journal.

    Args:
      journal: receives the results, including the reasons for unusable videos, and re-encoded files.
      max_skipped_fraction: maximum fraction of unusable videos.

    Returns:
      The splits with a usable video.

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
        shown = list(zip(range(SHOWN), journal.skipped(splits), strict=False))
        listed = "".join(f"\n  {told(item)}" for _, item in shown)
        more = f"\n  and {skipped - SHOWN} more" if skipped > SHOWN else ""
        allowed = (
            f", more than the share {max_skipped_fraction:g} that --max-skipped-fraction allows" if checked else ""
        )
        raise PreparationError(f"{skipped} of {total} videos are unusable{allowed}:{listed}{more}")
    return checked


def _check_split(
    split: str, entries: Collection[Entry], encoding: EncodingOptions, journal: Journal, workers: Mapper, bar: Any
) -> Checked:
    count = len(entries)
    state = Checked(
        entries,
        np.zeros(count, np.bool_),
        np.zeros(count, np.int32),
        np.zeros(count, np.float64),
        np.zeros(count, np.int64),
        encoding,
        journal.encoded / split,
    )
    done = np.zeros(count, np.bool_)
    # Known results first, then the others, in separate passes: ordered work cannot wait in memory while a million known
    # videos pass by.
    if journal.holds(split):
        for number, entry in enumerate(entries):
            result = journal.checked(split, number, source_of_video(entry, encoding))
            if result is not None and _still_there(state.target(entry, number), result):
                state.put(number, result)
                done[number] = True
        bar.update(int(done.sum()))
        if done.any():
            tqdm.write(f"{split}: {done.sum()} of {count} videos were checked before")
    asked: collections.deque[tuple[int, bytes, str, str]] = collections.deque()

    def jobs() -> Iterator[CheckJob]:
        for number, entry in enumerate(entries):
            if not done[number]:
                # State of the file before it is read: a file that changes meanwhile counts as changed.
                asked.append((number, source_of_video(entry, encoding), entry.record.id, entry.video.name))
                yield CheckJob(entry.video, state.target(entry, number), encoding, entry.window)

    whole = not encoding and not any(entry.window for entry, _ in zip(entries, range(1), strict=False))
    for result in workers.map(check_file, jobs(), doing="checking videos", chunk=CHUNK if whole else 1):
        number, source, name, file = asked.popleft()
        result = JobResult(*result)
        journal.note_checked(split, number, source, name, file, result)
        state.put(number, result)
        bar.update()
    return state


def _still_there(target: Path | None, result: JobResult) -> bool:
    """Returns whether the re-encoded file of a known result is complete; True if there is none."""
    if target is None or result.reason:
        return True
    return target.is_file() and target.stat().st_size == result.bytes


def told(item: Mapping[str, str]) -> str:
    """Formats a skipped video and the reason."""
    video, file = item["video"], item["file"]
    name = video.rpartition("/")[2]
    named = video + file.removeprefix(name) if file.startswith(name) else f"{video} ({file})"
    return f"{named}: {item['reason']}"


def check_file(job: CheckJob) -> JobResult:
    """Returns the result of checking one file; its re-encoded file gets its name when it is complete and on disk."""
    if job.window is None:
        info, reason = check_video(job.source)
        file = job.source
    else:
        # Checking all of a long file for each of its segments would take longer than reading the segment, which reveals
        # damage in it.
        info, reason = _probed(job.source)
    if info is not None and job.target is not None:
        file = job.target
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_write(file, unique=True, sync=True) as made:  # a cluster may run the same job twice at once
                transcode(job.source, made, job.encoding, info, job.window)
                info, reason = check_video(made)
                if info is None:
                    raise VideoError(reason)
        except VideoError as error:
            if is_full_disk(error.__cause__):  # not a fault of the video: the next preparation tries again
                raise PreparationError(f"{file.parent}: {FULL_DISK}") from error
            info, reason = None, error.reason
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
        return _remembered(path, stat.st_size, stat.st_mtime_ns), ""
    except VideoError as error:
        return None, error.reason


@functools.lru_cache(maxsize=64)
def _remembered(path: Path, size: int, changed: int) -> VideoInfo:
    """Caches properties per state of a file: its segments come in sequence, and some containers are read as a whole."""
    return probe(path, name=path.name)
