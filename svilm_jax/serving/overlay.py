"""Image of a phrase in a clip: frames over time, each with the heat map of the phrase below it."""

import io

import matplotlib.figure
import numpy as np
from PIL import Image

COLUMNS = 5  # maximum number of temporal indices shown
_INCH = 1.55  # of one picture


def overlay(frames: np.ndarray, heat: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Draws the picture of a grounded phrase.

    Args:
      frames: uint8 [Nt, H, W, 3], one for each temporal index.
      heat: float32 [Nt, h, w] of `GroundedPhrase`; the color scale spans its values over the clip.
      times: float [Nt], seconds of the frames.

    Returns:
      uint8 [rows, columns, 3], RGB: the frames in the upper row, with heat maps in the lower one.
    """
    count = len(frames)
    shown = np.unique(np.linspace(0, count - 1, min(COLUMNS, count)).round().astype(int))
    proportion = frames.shape[1] / frames.shape[2]
    label = 0.22  # inches
    size = (_INCH * len(shown), 2 * _INCH * proportion + label)
    figure = matplotlib.figure.Figure(figsize=size, dpi=200)
    grid = figure.subplots(
        2,
        len(shown),
        squeeze=False,
        gridspec_kw={"left": 0, "right": 1, "bottom": 0, "top": 1 - label / size[1], "wspace": 0.02, "hspace": 0.02},
    )
    low, high = np.percentile(heat, (2, 99.5))  # as in the report
    for (upper, lower), j in zip(grid.T, shown, strict=True):
        height, width = frames[j].shape[:2]
        extent = (-0.5, width - 0.5, height - 0.5, -0.5)
        upper.imshow(frames[j])
        upper.set_title(f"{times[j]:.2f} s", fontsize=7.5, pad=3, color="#475569")
        lower.imshow(frames[j].mean(axis=-1), cmap="gray", vmin=0, vmax=255)
        lower.imshow(heat[j], cmap="inferno", alpha=0.6, extent=extent, vmin=low, vmax=max(high, low + 1e-6))
        for axes in (upper, lower):
            axes.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    with Image.open(buffer) as image:
        return np.asarray(image.convert("RGB"))
