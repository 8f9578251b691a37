"""Temporal sampling: T times inside a window, in ascending order.

In training the window is divided into T equal segments, and one random offset, shared by all segments, picks a time in
each. Independent draws per segment would make the spacing of neighboring frames vary between zero and two segments: a
steadily moving object would appear to stutter, and speed is one of the things that captions describe. A shared offset
still covers every moment of the video over the epochs.
"""

import numpy as np

# The window ends where the last frame's display ends; the last time has to lie before that.
_INSIDE = 1.0 - 1e-6


def center_times(frames: int, start: float, end: float) -> np.ndarray:
    """Returns the centers of `frames` equal segments of [start, end) seconds; float64 [frames]."""
    return segment_times(frames, start, end, 0.5)


def jittered_times(frames: int, start: float, end: float, rng: np.random.Generator) -> np.ndarray:
    """Returns one time in each of `frames` equal segments of [start, end), at one random offset; float64 [frames]."""
    return segment_times(frames, start, end, rng.random())


def segment_times(frames: int, start: float, end: float, offset: float) -> np.ndarray:
    """Returns times at `offset` in [0, 1) of each of `frames` equal segments of [start, end) seconds; float64 [frames].

    Raises:
      ValueError: no frames, or a window that ends before it starts.
    """
    if frames < 1:
        raise ValueError(f"a clip needs at least one frame, got {frames}")
    if not 0 <= start <= end:
        raise ValueError(f"a window needs 0 <= start <= end seconds, got [{start}, {end}]")
    return start + (end - start) * (np.arange(frames) + min(offset, _INSIDE)) / frames


def window(duration: float, start: float = -1.0, end: float = -1.0) -> tuple[float, float]:
    """Returns the seconds of a video to sample: the annotated window clipped to the video, or all of it.

    Annotations contain errors: windows that end after the video are clipped, and one of zero length, or entirely
    outside, is replaced by the second around its start inside the video (a single moment has no motion).

    Args:
      duration: duration of the video in seconds.
      start: annotated start in seconds; negative if the text describes the whole video.
      end: annotated end in seconds; likewise.

    Returns:
      (start, end) with 0 <= start < end <= duration (for a positive duration).
    """
    if start < 0 and end < 0:
        return 0.0, duration
    first, last = max(start, 0.0), duration if end < 0 else min(end, duration)
    if last - first > 0:
        return first, last
    first = min(first, duration)
    middle = min(max(first, min(0.5, duration / 2)), max(duration - 0.5, duration / 2))
    return max(0.0, middle - 0.5), min(duration, middle + 0.5)
