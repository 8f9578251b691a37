"""Which videos of a dataset can be used? Each is decoded as training will, and re-encoded where that is asked for."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from svilm_jax.input.decoding import VideoError, VideoInfo

from .entries import Entry
from .errors import PreparationError
from .transcoding import Encoding, transcode
from .videos import check_video
from .workers import Workers

CHUNK = 16  # files that a process is given at once
SHOWN = 10  # unusable files that an error lists
FOLDER_FILES = 1000  # re-encoded files in one folder


@dataclasses.dataclass(frozen=True)
class Job:
    """One file to check; `target` is None where its bytes are kept."""

    source: Path
    target: Path | None
    encoding: Encoding

    def __str__(self) -> str:
        return str(self.source)


@dataclasses.dataclass(frozen=True)
class Checked:
    """One split after the check. The arrays have one value for each of its entries, usable or not.

    Attributes:
      entries: in the order in which their records are to lie on disk.
      usable: bool [N].
      frames: int32 [N], what the header of the file claims, 0 where it does not say.
      seconds: float64 [N].
      bytes: int64 [N], of the video as it goes into the record.
      encoded: folder of re-encoded files; None where the bytes of the files are kept.
    """

    entries: Collection[Entry]
    usable: np.ndarray
    frames: np.ndarray
    seconds: np.ndarray
    bytes: np.ndarray
    encoded: Path | None

    def __len__(self) -> int:
        return int(self.usable.sum())

    def __iter__(self) -> Iterator[tuple[Entry, Path, int]]:
        """Usable entries, the file that becomes the record's video, and its number of frames (0: unknown)."""
        for number, entry in enumerate(self.entries):
            if self.usable[number]:
                file = entry.video if self.encoded is None else _target(self.encoded, number)
                yield entry, file, int(self.frames[number])


def check_videos(
    splits: Mapping[str, Collection[Entry]],
    encoding: Encoding,
    folder: Path,
    workers: Workers,
    max_skipped_share: float,
) -> tuple[dict[str, Checked], list[dict[str, str]]]:
    """Checks, and re-encodes, the videos of all splits.

    Args:
      folder: receives re-encoded files.
      max_skipped_share: of the videos that may be unusable.

    Returns:
      The splits that have a usable video, and for each unusable one its split, video (id), file and reason.

    Raises:
      PreparationError: more videos are unusable than allowed, or all of them.
    """
    total = sum(len(entries) for entries in splits.values())
    checked: dict[str, Checked] = {}
    skipped: list[dict[str, str]] = []
    with tqdm(total=total, desc="re-encoding" if encoding else "checking videos", unit="video", disable=None) as bar:
        for split, entries in splits.items():
            encoded = folder / "encoded" / split if encoding else None
            state = Checked(
                entries,
                np.zeros(len(entries), np.bool_),
                np.zeros(len(entries), np.int32),
                np.zeros(len(entries), np.float64),
                np.zeros(len(entries), np.int64),
                encoded,
            )
            jobs = (Job(e.video, encoded and _target(encoded, i), encoding) for i, e in enumerate(entries))
            results = workers.map(check_file, jobs, doing="checking videos", chunk=1 if encoding else CHUNK)
            for number, (entry, (info, size, reason)) in enumerate(zip(entries, results, strict=True)):
                if info is None:
                    file = entry.video.name
                    skipped.append({"split": split, "video": entry.record.id, "file": file, "reason": reason})
                else:
                    state.usable[number] = True
                    state.frames[number], state.seconds[number] = info.frames, info.duration
                    state.bytes[number] = size
                bar.update()
            if len(state):
                checked[split] = state
    if not checked or len(skipped) > max_skipped_share * total:
        shown = "".join(f"\n  {told(item)}" for item in skipped[:SHOWN])
        more = f"\n  and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else ""
        allowed = f", more than the share {max_skipped_share:g} that --max-skipped-share allows" if checked else ""
        raise PreparationError(f"{len(skipped)} of {total} videos are unusable{allowed}:{shown}{more}")
    return checked, skipped


def told(item: Mapping[str, str]) -> str:
    """A skipped video and why, for people."""
    video, file = item["video"], item["file"]
    name = video.rpartition("/")[2]
    named = video + file.removeprefix(name) if file.startswith(name) else f"{video} ({file})"
    return f"{named}: {item['reason']}"


def check_file(job: Job) -> tuple[VideoInfo | None, int, str]:
    """What the file says of itself, its size in bytes and "", or None, 0 and the reason why it is of no use."""
    info, reason = check_video(job.source)
    file = job.source
    if info is not None and job.target is not None:
        file = job.target
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            transcode(job.source, file, job.encoding, info)
        except VideoError as error:
            return None, 0, error.reason
        info, reason = check_video(file)
    return info, file.stat().st_size if info is not None else 0, reason


def _target(folder: Path, number: int) -> Path:
    return folder / f"{number // FOLDER_FILES:06d}" / f"{number % FOLDER_FILES:03d}.mp4"
