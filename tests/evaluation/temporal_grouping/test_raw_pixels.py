"""Tests of the raw-pixel baselines: means over tubelets and cells."""

import numpy as np
import pytest

from svilm_jax.evaluation.temporal_grouping import raw_pixels


def test_mean_color_matches_a_loop():
    frames = np.random.default_rng(0).integers(0, 256, (6, 8, 10, 3), dtype=np.uint8)
    expected = [[np.mean([frames[2 * j + i, :, :, c] for i in range(2)]) / 255 for c in range(3)] for j in range(3)]
    np.testing.assert_allclose(raw_pixels.mean_color(frames, 2), expected)


@pytest.mark.parametrize(("height", "width"), [(8, 12), (9, 7), (2, 3)])
def test_small_pictures_match_a_loop(height, width):
    frames = np.random.default_rng(0).integers(0, 256, (4, height, width, 3), dtype=np.uint8)
    rows, columns = min(4, height), min(4, width)
    ys = np.linspace(0, height, rows + 1).round().astype(int)
    xs = np.linspace(0, width, columns + 1).round().astype(int)
    expected = [
        [
            frames[2 * j : 2 * j + 2, ys[y] : ys[y + 1], xs[x] : xs[x + 1], c].mean() / 255
            for y in range(rows)
            for x in range(columns)
            for c in range(3)
        ]
        for j in range(2)
    ]
    np.testing.assert_allclose(raw_pixels.downsampled_frames(frames, 2, cells=4), expected)


def test_split_tubelets_are_refused():
    with pytest.raises(ValueError, match="multiple of 2"):
        raw_pixels.mean_color(np.zeros((3, 4, 4, 3), np.uint8), 2)
