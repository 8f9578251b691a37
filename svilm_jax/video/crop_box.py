"""Crop boxes: one crop, resize and flip for all frames of a clip and its masks."""

import dataclasses

import numpy as np
from PIL import Image


@dataclasses.dataclass(frozen=True)
class CropBox:
    """A box of the source picture that becomes a square of `size` pixels.

    The box is in fractions of the source's height and width, so that it fits frames and masks of any resolution.
    """

    top: float
    left: float
    height: float
    width: float
    size: int
    flip: bool = False

    def flipped(self, flip: bool) -> "CropBox":
        """Returns this box, mirrored if `flip`."""
        return dataclasses.replace(self, flip=flip)

    def frames(self, images: np.ndarray) -> np.ndarray:
        """Resizes uint8 [T, h, w, 3] to uint8 [T, size, size, 3]; bilinear, averaging when downscaling."""
        count, h, w, _ = images.shape
        size = (self.size, self.size)
        box = self._pixels(h, w)
        out = np.empty((count, *size, 3), np.uint8)
        if box == (0, 0, w, h) and (h, w) == size:
            out[:] = images
        else:
            for i in range(count):
                out[i] = np.asarray(Image.fromarray(images[i]).resize(size, Image.Resampling.BILINEAR, box=box))
        return out[:, :, ::-1] if self.flip else out  # [T, size, size, 3]

    def masks(self, masks: np.ndarray) -> np.ndarray:
        """Resizes [T, h, w] of ids to [T, size, size] of the same dtype, by nearest neighbor, which preserves ids."""
        _, h, w = masks.shape
        steps = (np.arange(self.size) + 0.5) / self.size  # centers of the output pixels
        rows = np.clip((self.top + steps * self.height) * h, 0, h - 1).astype(np.int64)
        columns = np.clip((self.left + steps * self.width) * w, 0, w - 1).astype(np.int64)
        if self.flip:
            columns = columns[::-1]
        return masks[:, rows[:, None], columns]  # [T, size, size]

    def _pixels(self, h: int, w: int) -> tuple[float, float, float, float]:
        """Returns (left, top, right, bottom) in pixels of an h by w picture, inside it for any rounding."""
        left, top = max(self.left * w, 0.0), max(self.top * h, 0.0)
        right, bottom = min((self.left + self.width) * w, w), min((self.top + self.height) * h, h)
        return left, top, right, bottom


def center_crop(height: int, width: int, size: int) -> CropBox:
    """Returns the largest central square of a height by width picture, the crop used in evaluation."""
    side = min(height, width)
    return CropBox((1 - side / height) / 2, (1 - side / width) / 2, side / height, side / width, size)
