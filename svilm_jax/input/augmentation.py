"""Spatial augmentation: random resized crops."""

import math

import numpy as np

from svilm_jax.video.crop_box import CropBox, center_crop

_CROP_TRIES = 10


def random_resized_crop(
    height: int,
    width: int,
    size: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: np.random.Generator,
) -> CropBox:
    """Draws a box with a random fraction of the area and a random aspect ratio, at a random position.

    Args:
      height: height of the frame in pixels.
      width: width of the frame in pixels.
      size: side of the output square in pixels.
      scale: smallest and largest fraction of the area.
      ratio: smallest and largest width / height of the box, drawn on a log scale so that wide and tall are equally
        likely.
      rng: consumed by a varying number of draws; give each clip its own.

    Returns:
      The box; the center crop if no such box fits in ten tries (a very elongated frame).
    """
    if not (0 < scale[0] <= scale[1] <= 1 and 0 < ratio[0] <= ratio[1]):
        raise ValueError(f"random crop: expected 0 < scale <= 1 and 0 < ratio, ascending; got {scale} and {ratio}")
    for _ in range(_CROP_TRIES):
        area = height * width * rng.uniform(*scale)
        proportion = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = math.sqrt(area * proportion), math.sqrt(area / proportion)
        if w <= width and h <= height:
            top, left = rng.uniform(0, height - h), rng.uniform(0, width - w)
            return CropBox(top / height, left / width, h / height, w / width, size)
    return center_crop(height, width, size)
