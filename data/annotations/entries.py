"""Input of every preparation: a record without its video, and the path of the video file."""

import dataclasses
import zipfile
import zlib
from pathlib import Path

import numpy as np
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input import schema


@dataclasses.dataclass(frozen=True)
class Entry:
    """A video as described by an annotation file.

    Attributes:
      record: record without video bytes, phrases and masks.
      video: path of the video file.
      masks: path of an .npz file with uint8 [F, h, w] under "masks"; None if there are none.
      window: (start, end) seconds of the file that become the record's video; None: all of it.
    """

    record: schema.Record
    video: Path
    masks: Path | None = None
    window: tuple[float, float] | None = None


def read_masks(entry: Entry, frames: int) -> np.ndarray | None:
    """Reads the masks of an entry, uint8 [F, h, w], or None.

    Args:
      entry: entry with the path of its masks.
      frames: number of frames of the video file; 0: unknown.

    Raises:
      PreparationError: no such array, an array that does not match the video, or invalid mask ids of objects.
    """
    if entry.masks is None:
        return None
    try:
        with np.load(entry.masks, allow_pickle=False) as archive:
            masks = archive["masks"]
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise PreparationError(f"{entry.masks}: expected an .npz file with an array 'masks' ({error})") from error
    if masks.dtype != np.uint8 or masks.ndim != 3 or (frames and len(masks) != frames):
        raise PreparationError(
            f"{entry.masks}: masks {masks.dtype} {masks.shape}: expected uint8 [{frames or 'F'} frames, height, width]"
        )
    wrong = sorted(o.mask_id for o in entry.record.objects if not 1 <= o.mask_id <= 255)
    if wrong:
        raise PreparationError(f"{entry.masks}: mask ids {wrong} of its objects: expected numbers from 1 to 255")
    return masks
