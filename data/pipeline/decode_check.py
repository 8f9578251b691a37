"""Check of a video file before it becomes a record, by decoding it as training would."""

import itertools
from pathlib import Path

import numpy as np

from svilm_jax.video.decoding import VideoError, VideoInfo, decode, opened

CHECKED_FRAMES = 8  # spread over the whole video
CHECKED_SIDE = 32  # pixels of the shorter side to which they are scaled
CHECKED_START = 300  # frames from the start in which every packet must decode


def check_video(path: Path) -> tuple[VideoInfo | None, str]:
    """Decodes frames spread over the whole file, so that truncated files are detected too.

    Stricter than training, which skips a packet that does not decode: the affected region is frozen until the next key
    frame, and preparation is the time to notice.

    Returns:
      The properties of the video and "", or None and the reason why it is unusable.
    """
    if not path.is_file():
        return None, "no such file"
    try:
        info = decode(path, _segment_centers, short_side=CHECKED_SIDE, name=path.name).info
        damage = _damage(path)
    except VideoError as error:
        return None, error.reason
    if info.missing:
        end = info.duration - info.missing
        return None, f"truncated: its packets end at {end:.2f} s of the {info.duration:.2f} s that the file states"
    return (None, damage) if damage else (info, "")


def _segment_centers(info: VideoInfo) -> np.ndarray:
    """Returns float64 [8] seconds: the centers of equal segments of the video."""
    return (np.arange(CHECKED_FRAMES) + 0.5) / CHECKED_FRAMES * info.duration


def _damage(path: Path) -> str:
    """Returns the first damage in the first packets of a decodable file; "" if there is none."""
    with opened(path) as reader:
        for _ in itertools.islice(reader.play(), CHECKED_START):
            if reader.damage:
                break
        if not reader.damage:
            return ""
        seconds, reason = reader.damage[0]
        at = "" if seconds is None else f" at {seconds:.2f} s"
        return f"damaged: a packet{at} does not decode ({reason})"
