"""Tests of augmentation: a clip is cropped, scaled and flipped as a whole, and never mirrored against its caption."""

import numpy as np
import pytest

from svilm_jax.input.augmentation import random_resized_crop
from svilm_jax.video.crop_box import CropBox, center_crop


def picture(height: int = 40, width: int = 60) -> np.ndarray:
    """uint8 [2, height, width, 3]: brightness of red is the column, of green the row."""
    rows, columns = np.mgrid[:height, :width]
    return np.repeat(np.stack([columns * 4, rows * 4, rows * 0], -1)[None].astype(np.uint8), 2, axis=0)


def test_center_crop_is_the_middle_square():
    out = center_crop(40, 60, 40).frames(picture())
    assert out.shape == (2, 40, 40, 3)
    assert np.array_equal(out, picture()[:, :, 10:50])


def test_identity_returns_the_picture():
    image = picture(32, 32)
    assert np.array_equal(center_crop(32, 32, 32).frames(image), image)


def test_scaling_keeps_places():
    out = center_crop(40, 60, 20).frames(picture()).astype(int)
    assert abs(out[0, :, 10, 1] - (np.arange(20) * 2 + 0.5) * 4).max() <= 3
    assert (out[0] == out[1]).all()


def test_frames_and_masks_are_cut_alike():
    rng = np.random.default_rng(0)
    masks = np.zeros((2, 80, 120), np.uint8)  # of another resolution than the frames
    masks[:, 30:60, 40:90] = 7
    frames = np.repeat((masks[:, ::2, ::2] > 0).astype(np.uint8)[..., None] * 255, 3, axis=3)
    for _ in range(10):
        geometry = random_resized_crop(40, 60, 32, (0.4, 1.0), (0.75, 1.33), rng).flipped(bool(rng.integers(2)))
        cut = geometry.masks(masks)
        assert cut.shape == (2, 32, 32)
        assert set(np.unique(cut)) <= {0, 7}
        agree = (geometry.frames(frames)[..., 0] > 127) == (cut > 0)
        assert agree.mean() > 0.93


def test_flip_mirrors():
    geometry = center_crop(40, 40, 40)
    image = picture(40, 40)
    assert np.array_equal(geometry.flipped(True).frames(image), image[:, :, ::-1])


def test_random_crops_obey_their_shares():
    rng = np.random.default_rng(1)
    boxes = [random_resized_crop(100, 100, 32, (0.5, 0.8), (0.75, 1.333), rng) for _ in range(300)]
    areas = np.array([box.height * box.width for box in boxes])
    assert areas.min() >= 0.5 - 1e-9
    assert areas.max() <= 0.8 + 1e-9
    assert areas.min() < 0.55
    assert areas.max() > 0.75
    ratios = np.array([box.width / box.height for box in boxes])
    assert ratios.min() >= 0.75 - 1e-9
    assert ratios.max() <= 1.333 + 1e-9
    assert all(0 <= b.top <= 1 - b.height + 1e-9 and 0 <= b.left <= 1 - b.width + 1e-9 for b in boxes)


def test_impossible_crop_falls_back_to_the_middle():
    rng = np.random.default_rng(0)
    assert random_resized_crop(10, 1000, 8, (0.9, 1.0), (1.0, 1.0), rng) == center_crop(10, 1000, 8)
    with pytest.raises(ValueError, match="scale"):
        random_resized_crop(10, 10, 8, (0.0, 1.0), (1.0, 1.0), rng)


def test_box_touching_the_border_stays_inside():
    geometry = CropBox(0.7, 0.7, 0.3 + 1e-16, 0.3 + 1e-16, 8)
    assert geometry.frames(picture()).shape == (2, 8, 8, 3)
    assert CropBox(0, 0, 1, 1, 8).masks(np.ones((1, 3, 3), np.uint8)).all()
