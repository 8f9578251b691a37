"""Sliding-window features on disk, and their batches for temporal localization.

    FOLDER/features.json   window, stride and offset in seconds, the labels, and the file and segments of each video
    FOLDER/<video>.npy     float32 [N, D], row k: the window from offset + k · stride

`svilm extract-features` writes such a folder; features of other models can be used as well.
"""

import dataclasses
import hashlib
import json
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from svilm_jax.config import LocalizationConfig
from svilm_jax.errors import UserError
from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.filesystem.json_reader import JsonError, read_document
from svilm_jax.input.batch_stream import Batch, ReadOptions, ShardOptions, Stream, shuffled
from svilm_jax.input.labels import numbered
from svilm_jax.input.schema import Action
from svilm_jax.input.segments import localization_targets, resize_features

INDEX = "features.json"
FORMAT = 1


class FeatureError(UserError, ValueError):
    """A folder of features that cannot be used; the message names the file and what to do."""


@dataclasses.dataclass(frozen=True)
class VideoFeatures:
    """A video of the index.

    Attributes:
      id: id of the record.
      file: name of the feature file in the folder.
      duration: duration in seconds.
      actions: labeled segments.
    """

    id: str
    file: str
    duration: float
    actions: tuple[Action, ...] = ()


@dataclasses.dataclass(frozen=True)
class FeatureIndex:
    """Content of features.json.

    Attributes:
      window, stride, offset: seconds; window k is [offset + k · stride, offset + k · stride + window).
      width: D.
      labels: all classes of the dataset in their order; may be empty.
      videos: videos in the order of the split.
      origin: what computed them: checkpoint, dataset and split.
    """

    window: float
    stride: float
    offset: float
    width: int
    labels: tuple[str, ...]
    videos: tuple[VideoFeatures, ...]
    origin: dict[str, Any]


def file_name(video: str) -> str:
    """Returns the file name of a video, for any characters in its id; it cannot point outside the folder."""
    return f"v_{urllib.parse.quote(video, safe='')}.npy"


def window_starts(duration: float, stride: float, offset: float) -> np.ndarray:
    """Returns float64 [N] seconds at which the windows of a video start; at least one, even for a very short video."""
    count = max(1, int(np.ceil((duration - offset) / stride - 1e-9)))
    return offset + stride * np.arange(count)


def write_index(folder: Path, index: FeatureIndex) -> None:
    """Writes features.json atomically."""
    document = {"format": FORMAT, **dataclasses.asdict(index)}
    with atomic_write(folder / INDEX) as file:
        file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_index(folder: str | Path) -> FeatureIndex:
    """Reads features.json.

    Raises:
      FeatureError: no such folder or file, or another format than that of `svilm extract-features`.
    """
    if not str(folder):
        raise FeatureError(
            "no features given: set config.model.localization.features to a folder of `svilm extract-features`"
        )
    path = Path(folder) / INDEX
    if not path.is_file():
        raise FeatureError(f"{path}: no such file; expected a folder that `svilm extract-features` wrote")
    try:
        document = read_document(path)
        if document.pop("format") != FORMAT:
            raise ValueError("another format")
        videos = tuple(
            VideoFeatures(v["id"], v["file"], float(v["duration"]), tuple(Action(**a) for a in v["actions"]))
            for v in document.pop("videos")
        )
        index = FeatureIndex(videos=videos, labels=tuple(document.pop("labels")), **document)
        if not min(index.window, index.stride, *(video.duration for video in videos)) > 0:
            raise ValueError("window, stride and durations must be above 0 seconds")
        return index
    except JsonError as error:
        raise FeatureError(f"{path}: cannot be read ({error.reason}); write the features again") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FeatureError(f"{path}: cannot be read ({error}); write the features again") from error


def read_features(folder: Path, index: FeatureIndex, video: VideoFeatures) -> np.ndarray:
    """Reads the features of one video, float32 [N, D].

    Raises:
      FeatureError: missing, damaged, or of another width than in the index.
    """
    path = folder / video.file
    if Path(video.file).name != video.file:
        raise FeatureError(f"{folder / INDEX}: file {video.file!r} of {video.id} leads out of the folder")
    try:
        with path.open("rb") as file:  # not `np.load`, which also opens archives, with different errors for each format
            features = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise FeatureError(f"{path}: cannot be read ({error}); write the features again") from error
    fits = features.dtype.kind in "fiu" and features.ndim == 2 and features.shape[1] == index.width and len(features)
    if not fits or not np.isfinite(features).all():
        held = f"{features.dtype} {features.shape}"
        raise FeatureError(f"{path}: {held}: expected finite numbers [windows, {index.width}]")
    return features.astype(np.float32)


def resized(folder: Path, index: FeatureIndex, video: VideoFeatures, steps: int) -> np.ndarray:
    """Returns features at the centers of `steps` equal steps of a video, float32 [T, D], by linear interpolation."""
    features = read_features(folder, index, video)
    starts = index.offset + index.stride * np.arange(len(features))
    # The last windows are clipped at the end of the video; so are their centers.
    middles = (starts + np.maximum(starts, np.minimum(starts + index.window, video.duration))) / 2
    return resize_features(features, steps, middles, video.duration)


class FeatureInput(Stream):
    """Endless batches for temporal localization; targets as in `segments.localization_targets`.

    A batch has features float32 [b, T, D]; start, end float32 [b, T]; iou float32 [b, T, T]; step_class int32 [b, T];
    valid bool [b]; index int64 [b].
    """

    def __init__(self, config: LocalizationConfig, classes: Sequence[str], **share: Any):
        """Reads the index of the features.

        Args:
          config: folder of features and number of steps T.
          classes: action classes in their order.
          **share: fields of `ShardOptions`.

        Raises:
          FeatureError: there are no features.
        """
        load = FeatureLoader(Path(config.features), config.num_steps, classes)
        content = json.dumps([[v.id for v in load.videos], config.num_steps])
        identity = hashlib.sha256(content.encode()).hexdigest()[:16]  # stored in checkpoints
        options = ShardOptions(**share)
        super().__init__(load, shuffled(len(load.videos), 1, options.seed), identity, options, ReadOptions(threads=1))


class FeatureLoader:
    """Loads one video into one row of a batch."""

    def __init__(self, folder: Path, steps: int, classes: Sequence[str]):
        self._folder, self._steps, self._numbers = folder, steps, numbered(classes)
        self._index = read_index(folder)
        self.videos = [v for v in self._index.videos if any(a.label in self._numbers for a in v.actions)]
        if not self.videos:
            raise FeatureError(f"{folder}: no video with a labeled segment among the {len(self._index.videos)}")

    def __call__(self, epoch: int, number: int) -> Batch:
        """Returns the row of video `number`; the same in every epoch."""
        video = self.videos[number]
        known = [a for a in video.actions if a.label in self._numbers]
        whole = (0.0, video.duration)
        segments = np.array([whole if a.start < 0 else (a.start, a.end) for a in known], np.float64).reshape(-1, 2)
        labels = np.array([self._numbers[a.label] for a in known], np.int32)
        return {
            "features": resized(self._folder, self._index, video, self._steps),
            **localization_targets(segments, labels, video.duration, self._steps),
            "valid": np.array(True),
            "index": np.array(number, np.int64),
        }
