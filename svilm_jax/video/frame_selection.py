"""Selection of the frames on screen at given times from frames in presentation order."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from svilm_jax.video.info import SAME_TIME


class SelectedFrames(NamedTuple):
    """The frame on screen at each of T ascending times.

    Attributes:
      images: T pictures, uint8 [h, w, 3]; times on the same frame share one array.
      indices: T numbers of frames in the file.
      times: T seconds at which these frames appear.
      complete: whether a frame after the last time was seen; otherwise the last frame was held.
    """

    images: list[np.ndarray]
    indices: list[int]
    times: list[float]
    complete: bool


def select(
    frames: Iterable[tuple[int, float, Any]], ascending: Sequence[float], render: Callable[[Any], np.ndarray]
) -> SelectedFrames:
    """Selects the last frame that appears at or before each time; the first frame also for times before it.

    Args:
      frames: (index, seconds, frame) in presentation order, at least one; consumed only as far as needed.
      ascending: seconds, in ascending order.
      render: function from a frame to its pixels; called once per selected frame.
    """
    selected = SelectedFrames([], [], [], complete=True)

    def keep(index: int, time: float, frame: Any) -> None:
        repeated = selected.indices and selected.indices[-1] == index
        selected.images.append(selected.images[-1] if repeated else render(frame))
        selected.indices.append(index)
        selected.times.append(time)

    position, shown = 0, None
    for index, time, frame in frames:
        # The frame before this one is on screen at every time before this frame's own.
        while position < len(ascending) and ascending[position] < time - SAME_TIME:
            keep(*(shown or (index, time, frame)))
            position += 1
        if position == len(ascending):
            return selected
        shown = (index, time, frame)
    assert shown is not None
    for _ in ascending[position:]:
        keep(*shown)
    return selected._replace(complete=False)
