"""Extraction of sliding-window features with the video tower, for localization and other uses.

The feature of a window is the mean of its final video tokens. Videos whose feature file exists are skipped, so that an
interrupted run can be resumed.
"""

import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from svilm_jax.config import ConfigError
from svilm_jax.evaluation.clips import EvaluationClips, EvaluationError, video_header
from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.filesystem.json_reader import read_document
from svilm_jax.filesystem.locks import locked_output
from svilm_jax.inference.encoder import FEATURES, Encoder
from svilm_jax.input.features import FeatureIndex, VideoFeatures, file_name, window_starts, write_index

log = logging.getLogger(__name__)

# Frames: the mean rate of a video of a constant rate is rounded in its header.
_FRAME_TOLERANCE = 0.1


@dataclasses.dataclass(frozen=True)
class Windows:
    """Sliding windows: window k is [offset + k · stride, offset + k · stride + length) seconds."""

    length: float
    stride: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not (self.length > 0 and self.stride > 0 and self.offset >= 0):
            raise ConfigError(
                f"windows of {self.length:g} s every {self.stride:g} s from {self.offset:g} s: expected a length and a "
                "stride above 0, and an offset of at least 0"
            )


def extract_features(
    encoder: Encoder,
    dataset: str,
    split: str,
    labels: tuple[str, ...],
    windows: Windows,
    out: Path,
    origin: str,
    pool: str = "clip",
) -> FeatureIndex:
    """Writes a folder of features (`svilm_jax/input/features.py`), locked against other processes meanwhile.

    Args:
      encoder: encoder with the video tower.
      dataset: folder of a prepared dataset.
      split: split or view of it.
      labels: action classes in their order; stored in the index.
      windows: sliding windows over each video.
      out: folder, created if missing; features.json is written last.
      origin: source of the parameters, such as a workdir's name and step.
      pool: feature of a window, a key of `encoder.FEATURES`.

    Returns:
      The index; undecodable videos are named in the log and are not in it.

    Raises:
      EvaluationError: no decodable video, or a folder with features of another source.
      LockError: another process writes `out`.
    """
    with locked_output(out):
        clips = EvaluationClips(dataset, split, 0, encoder.config.model.video)
        out.mkdir(parents=True, exist_ok=True)
        source = {
            "parameters": origin,
            "dataset": clips.records.identity,
            "split": split,
            "windows": [windows.length, windows.stride, windows.offset],
            "pool": pool,
        }
        _check_same_source(out / ".made_from.json", source)
        videos = _readable_videos(clips, windows.length)
        _write_missing(encoder, clips, videos, windows, out, FEATURES[pool])
        for number in clips.failed:  # named in the log when decoding failed
            del videos[number]
        if not videos:
            raise EvaluationError(f"split {split!r}: no decodable video")
        width = int(np.load(out / next(iter(videos.values())).file, allow_pickle=False).shape[1])
        index = FeatureIndex(
            windows.length, windows.stride, windows.offset, width, labels, tuple(videos.values()), source
        )
        write_index(out, index)
        return index


def _readable_videos(clips: EvaluationClips, window: float) -> dict[int, VideoFeatures]:
    """Returns record number -> entry of the index, of the videos whose duration can be read."""
    videos: dict[int, VideoFeatures] = {}
    rates: list[float] = []
    for number in clips.numbers:
        record = clips.records[number]
        header = video_header(record)
        if header is None:
            log.warning("%s: video %s left out: its header cannot be read", clips.split, record.id)
        else:
            videos[number] = VideoFeatures(record.id, file_name(record.id), header.duration, record.actions)
            rates.append(header.fps)
    _warn_of_repeated_frames(rates, window, clips.video.num_frames, clips.split)
    return videos


def _warn_of_repeated_frames(rates: Sequence[float], window: float, wanted: int, split: str) -> None:
    """Warns of videos whose frame rate leaves a window fewer distinct frames than the tower reads.

    Args:
      rates: frames per second of every video; 0: unknown.
      window: seconds.
      wanted: frames that the tower reads.
      split: name of the split, for the message.
    """
    slow = sorted(rate for rate in rates if 0 < rate * window < wanted - _FRAME_TOLERANCE)
    if slow:
        log.warning(
            "%s: in %d of %d videos a window of %g s has fewer than the %d frames that the model reads (at %.4g fps, "
            "%.4g), so that frames repeat: take a --window of at least %.3g s, or prepare the dataset with a higher "
            "--fps",
            *(split, len(slow), len(rates), window, wanted, slow[0], slow[0] * window, wanted / slow[0]),
        )


def _write_missing(
    encoder: Encoder,
    clips: EvaluationClips,
    videos: Mapping[int, VideoFeatures],
    windows: Windows,
    out: Path,
    feature: str,
) -> None:
    """Computes and writes the features of the videos that have no file yet, one file per video."""
    starts = {
        number: window_starts(video.duration, windows.stride, windows.offset)
        for number, video in videos.items()
        if not (out / video.file).is_file()
    }
    order = [number for number in starts for _ in starts[number]]
    spans = [(float(start), float(start) + windows.length) for number in starts for start in starts[number]]
    decoded: list[int] = []

    def frames() -> Iterator[np.ndarray]:
        for position, clip in clips.read(order, spans):
            decoded.append(order[position])
            yield clip.frames

    rows: dict[int, list[np.ndarray]] = {}
    with tqdm(total=len(order), desc="windows", unit="window", disable=None) as bar:
        for position, reading in enumerate(encoder.videos(frames(), (feature,))):
            number = decoded[position]
            rows.setdefault(number, []).append(reading[feature])
            bar.update()
            if len(rows[number]) == len(starts[number]):
                _write(out / videos[number].file, np.stack(rows.pop(number)))


def _check_same_source(path: Path, source: dict) -> None:
    """Rejects mixing features of two sources in one folder."""
    now = json.loads(json.dumps(source))
    if path.is_file():
        before = read_document(path)
        if before != now:
            changed = [f"{key} was {before.get(key)!r}, is {now[key]!r}" for key in now if before.get(key) != now[key]]
            raise EvaluationError(
                f"{path.parent}: has features of another source ({'; '.join(changed)}); give another --out"
            )
    else:
        path.write_text(json.dumps(now) + "\n", encoding="utf-8")


def _write(path: Path, features: np.ndarray) -> None:
    """Writes a .npy file atomically."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.save(file, features.astype(np.float32), allow_pickle=False)
