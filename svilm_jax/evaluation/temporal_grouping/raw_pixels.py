"""Raw-pixel baselines of temporal grouping: tubelet features computed without a model."""

import numpy as np

CELLS = 16  # side length in pixels that a frame is averaged down to


def mean_color(frames: np.ndarray, per_tubelet: int) -> np.ndarray:
    """Returns the mean color of every tubelet in [0, 1], float64 [Nt, 3], of frames uint8 [T, H, W, 3]."""
    return _tubelets(frames, per_tubelet).mean(axis=(1, 2, 3))


def downsampled_frames(frames: np.ndarray, per_tubelet: int, cells: int = CELLS) -> np.ndarray:
    """Returns downsampled, flattened mean frames of tubelets, float64 [Nt, cells·cells·3], of uint8 [T, H, W, 3]."""
    frame = _tubelets(frames, per_tubelet).mean(axis=1)  # [Nt, H, W, 3]
    rows = _cell_means(frame, 1, min(cells, frame.shape[1]))
    return _cell_means(rows, 2, min(cells, frame.shape[2])).reshape(len(frame), -1)


FEATURES = {"mean_color": mean_color, "small_pictures": downsampled_frames}


def _tubelets(frames: np.ndarray, per_tubelet: int) -> np.ndarray:
    if len(frames) % per_tubelet:
        raise ValueError(f"{len(frames)} frames: expected a multiple of {per_tubelet}, the frames of a tubelet")
    return (frames / 255.0).reshape(-1, per_tubelet, *frames.shape[1:])  # [Nt, t, H, W, 3]


def _cell_means(x: np.ndarray, axis: int, cells: int) -> np.ndarray:
    """Averages over `cells` nearly equal runs of an axis, whose size need not be divisible."""
    edges = np.linspace(0, x.shape[axis], cells + 1).round().astype(int)
    shape = [1] * x.ndim
    shape[axis] = cells
    return np.add.reduceat(x, edges[:-1], axis=axis) / np.diff(edges).reshape(shape)
