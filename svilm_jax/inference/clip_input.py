"""Conversion of a video file or an array of frames into a model input clip."""

from pathlib import Path

import numpy as np

from svilm_jax.config import VideoConfig
from svilm_jax.input import temporal_sampling
from svilm_jax.input.clips import decode_side
from svilm_jax.video import decoding
from svilm_jax.video.crop_box import center_crop
from svilm_jax.video.info import DEFAULT_LIMITS, Limits

# A path, the bytes of a file, or frames uint8 [T, h, w, 3].
Video = str | Path | bytes | np.ndarray


def read_clip(
    video: Video, config: VideoConfig, start: float = -1.0, end: float = -1.0, limits: Limits = DEFAULT_LIMITS
) -> np.ndarray:
    """Returns uint8 [T, H, W, 3] as in evaluation: the centers of T equal segments, the largest central square.

    Args:
      video: see `Video`; an array has any number of frames of any size, evenly spaced in time.
      config: number of frames and size of the result.
      start: start of the window in seconds of a file; -1 for all of it.
      end: end of the window in seconds of a file; -1 for all of it.
      limits: resource limits for decoding a file.

    Raises:
      VideoError: a file that cannot be read.
      ValueError: an array of another shape or dtype, or another type.
    """
    if isinstance(video, np.ndarray):
        frames = _of_array(video, config.num_frames)
    elif isinstance(video, (str, Path, bytes)):
        name = "video" if isinstance(video, bytes) else Path(video).name
        frames = decoding.decode(
            video,
            lambda info: temporal_sampling.center_times(
                config.num_frames, *temporal_sampling.window(info.duration, start, end)
            ),
            short_side=lambda info: decode_side(info, config.image_size),
            name=name,
            limits=limits,
        ).images
    else:
        raise ValueError(f"a video is a path, the bytes of a file or an array of frames, not {type(video).__name__}")
    height, width = frames.shape[1:3]
    return center_crop(height, width, config.image_size).frames(frames)


def _of_array(video: np.ndarray, frames: int) -> np.ndarray:
    if video.dtype != np.uint8 or video.ndim != 4 or video.shape[-1] != 3 or not video.size:
        raise ValueError(f"frames are {video.dtype} {video.shape}: expected uint8 [T, height, width, 3], RGB")
    return video[temporal_sampling.center_times(frames, 0.0, float(len(video))).astype(int)]
