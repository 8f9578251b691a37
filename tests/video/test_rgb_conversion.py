"""Tests of cropping during conversion against cropping the whole picture."""

import dataclasses

import numpy as np
import pytest

from svilm_jax.config import VideoConfig
from svilm_jax.input.augmentation import random_resized_crop
from svilm_jax.input.clips import FrameCache, decode_clip
from svilm_jax.input.schema import Record
from svilm_jax.video.crop_box import CropBox, center_crop
from svilm_jax.video.decoding import decode
from svilm_jax.video.rgb_conversion import SMALL_SIDE
from tests.video.encoded_videos import encode

VIDEO = VideoConfig(num_frames=3, image_size=96)


def picture(height: int, width: int) -> np.ndarray:
    """uint8 [6, height, width, 3]: smooth, colored, different in every corner, and moving."""
    t, y, x = np.mgrid[:6, :height, :width]
    red = 128 + 100 * np.sin(y / 40 + t / 3)  # little change of color along a row: see `rendering`
    return np.stack([red, 255 * y / height, 255 - 200 * x / width + 5 * t], -1).clip(0, 255).astype(np.uint8)


def both_ways(video: bytes, geometry: CropBox) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [3, size, size, 3]: cut in one step; from whole pictures."""
    record = Record("clip", video)
    cut = decode_clip(record, VIDEO, crop=lambda *_: geometry).images
    return cut, geometry.frames(decode(video, [0.125, 0.375, 0.625]).images)


def on_even_pixels(box: CropBox, height: int, width: int) -> CropBox:
    """The box that the fast way rounds to."""
    top, tall = (2 * round(share * height / 2) / height for share in (box.top, box.height))
    left, wide = (2 * round(share * width / 2) / width for share in (box.left, box.width))
    return dataclasses.replace(box, top=min(top, 1 - tall), left=min(left, 1 - wide), height=tall, width=wide)


@pytest.mark.parametrize("size", [(180, 240), (178, 244), (360, 202), (400, 720)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p"])
def test_the_same_part_in_the_same_colors(size, pix_fmt):
    video = encode(picture(*size), pix_fmt=pix_fmt)
    rng = np.random.default_rng(0)
    boxes = [random_resized_crop(*size, 96, (0.3, 1.0), (0.75, 1.333), rng).flipped(i % 2 == 0) for i in range(6)]
    for geometry in (*(on_even_pixels(box, *size) for box in boxes), center_crop(*size, 96), CropBox(0, 0, 1, 1, 96)):
        cut, reference = both_ways(video, geometry)
        assert cut.shape == reference.shape
        difference = cut.astype(int) - reference
        assert np.abs(difference).mean() < 1.5
        assert np.abs(difference.mean((0, 1, 2))).max() < 1


def test_boxes_at_the_border_and_of_next_to_nothing():
    video = encode(picture(181, 243), pix_fmt="yuv444p")
    even = encode(picture(180, 240))
    for geometry in (
        CropBox(0.9, 0.9, 0.1, 0.1, 96),
        CropBox(0.999, 0.999, 0.001, 0.001, 96),
        CropBox(0, 0, 1, 1, 7),
    ):
        for content in (video, even):
            assert both_ways(content, geometry)[0].shape == (3, geometry.size, geometry.size, 3)


def test_a_flip_mirrors_to_the_bit():
    video, geometry = encode(picture(200, 240)), CropBox(0.1, 0.2, 0.6, 0.7, 96)
    plain, mirrored = (both_ways(video, geometry.flipped(flip))[0] for flip in (False, True))
    assert np.array_equal(mirrored, plain[:, :, ::-1])


@pytest.mark.parametrize(
    "options", [{"rotation": 90}, {"pix_fmt": "yuv444p"}, {"codec": "libx264rgb", "pix_fmt": "rgb24"}, {"small": True}]
)
def test_other_pictures_are_cropped_as_a_whole(options):
    side = SMALL_SIDE - 2 if options.pop("small", False) else SMALL_SIDE + 20
    video = encode(picture(side, 240), container="mp4", **options)
    cut, reference = both_ways(video, CropBox(0.1, 0.2, 0.6, 0.7, 96))
    assert np.array_equal(cut[0], reference[0])


def test_the_box_is_drawn_once_for_the_scaled_picture_and_may_be_none():
    drawn = []

    def draw(height: int, width: int) -> None:
        drawn.append((height, width))

    video = encode(picture(400, 720))
    assert decode(video, [0.0], short_side=200, crop=draw).images.shape == (1, 200, 360, 3)
    assert drawn == [(200, 360)]


def test_large_pictures_are_not_kept_and_small_ones_are():
    geometry, config = CropBox(0.1, 0.2, 0.6, 0.7, 96), dataclasses.replace(VIDEO, num_frames=4)
    for height, kept in ((SMALL_SIDE, False), (SMALL_SIDE - 2, True)):
        record, cache = Record("clip", encode(picture(height, 240))), FrameCache(10**9)
        results = [decode_clip(record, config, cache=cache, index=0, crop=lambda *_: geometry) for _ in range(2)]
        without = decode_clip(record, config, crop=lambda *_: geometry)
        assert (cache.get(0) is not None) == kept
        assert all(np.array_equal(result.images, without.images) for result in results)


@pytest.mark.parametrize("matrix", [1, 4, 5, 7, 9])
@pytest.mark.parametrize("color_range", [1, 2])
def test_a_box_has_the_colors_of_the_whole_picture_whatever_the_color_matrix(matrix, color_range):
    patches = np.repeat([(32, 64, 128), (32, 192, 48), (208, 48, 64), (224, 208, 16)], 60, axis=0).astype(np.uint8)
    video = encode(np.broadcast_to(patches, (2, 180, 240, 3)), matrix=matrix, color_range=color_range)
    whole = decode(video, [0.0]).images[0]
    cut = decode(video, [0.0], crop=lambda *_: CropBox(0, 0, 1, 1, 180)).images[0]
    middles = [22, 67, 112, 157]  # of the patches, in a picture of 180 pixels
    assert np.array_equal(cut[90, middles], whole[90, [30, 90, 150, 210]])
