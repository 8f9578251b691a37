"""Tests of multi-view sampling: times and crops of the views of a video."""

import numpy as np
import pytest

from svilm_jax.config import VideoConfig
from svilm_jax.input.clips import load_clip
from svilm_jax.input.multi_view import crop_along, evaluation_views, load_views, positions
from svilm_jax.input.records import open_records
from svilm_jax.input.schema import Record
from svilm_jax.video.crop_box import CropBox
from svilm_jax.video.decoding import VideoError
from tests.video.encoded_videos import encode, numbered_frames, numbers

VIDEO = VideoConfig(num_frames=4, image_size=32)


@pytest.fixture(scope="module")
def wide():
    """Two seconds, 16 frames of 48 x 64 pixels with their number; the left 16 columns are red above."""
    return Record("wide", encode(numbered_frames(16)))


@pytest.mark.parametrize("window", [(None, None), (0.5, 1.75)])
@pytest.mark.parametrize(("height", "width"), [(48, 64), (64, 40), (48, 48), (240, 180)])
def test_one_clip_and_one_crop_are_what_evaluation_sees_elsewhere(height, width, window):
    record = Record("clip", encode(numbered_frames(16, height, width)))
    views = load_views(record, VIDEO, 1, 1, *(-1.0 if t is None else t for t in window))
    assert views.dtype == np.uint8
    np.testing.assert_array_equal(views, load_clip(record, VIDEO, *window).frames[None])


def test_clips_are_shifted_within_equal_segments(wide):
    def by_hand(start, end, clips):
        return [
            [int(8 * (start + (end - start) * (segment + (clip + 0.5) / clips) / 4)) for segment in range(4)]
            for clip in range(clips)
        ]

    assert by_hand(0, 2, 2) == [[1, 5, 9, 13], [3, 7, 11, 15]]
    for clips in (2, 4):
        assert [numbers(view) for view in load_views(wide, VIDEO, clips, 1)] == by_hand(0, 2, clips)
    assert [numbers(view) for view in load_views(wide, VIDEO, 2, 1, 0.5, 1.5)] == by_hand(0.5, 1.5, 2)


def test_crops_go_from_end_to_end():
    assert positions(1) == [0.5]
    assert positions(2) == [0, 1]
    assert positions(3) == [0, 0.5, 1]
    left, middle, right = (crop_along(30, 60, 8, position) for position in positions(3))
    assert (left, middle, right) == tuple(CropBox(0, start, 1, 0.5, 8) for start in (0, 0.25, 0.5))
    assert [crop_along(60, 30, 8, position) for position in (0, 1)] == [
        CropBox(0, 0, 0.5, 1, 8),
        CropBox(0.5, 0, 0.5, 1, 8),
    ]


def test_crops_of_a_clip_stand_together(wide):
    views = load_views(wide, VIDEO, 2, 3)
    assert views.shape == (6, 4, 32, 32, 3)
    assert [numbers(view) for view in views] == [[1, 5, 9, 13]] * 3 + [[3, 7, 11, 15]] * 3
    # Of 64 columns the crops show 0 to 48, 8 to 56 and 16 to 64, each as 32 pixels: so much of the red is left.
    red = (views[:, 0, 3, :, 0].astype(int) - views[:, 0, 3, :, 1] > 90).sum(axis=1)
    np.testing.assert_allclose(red, [16 * 32 / 48, 8 * 32 / 48, 0] * 2, atol=1.5)


def test_views_come_in_order_with_the_reason_where_there_are_none(numbered):
    records = open_records(numbered, "mixed")
    windows = [(-1.0, -1.0), (-1.0, -1.0), (0.0, 0.5), (0.5, 1.0)]
    made = list(evaluation_views(records, [5, 2, 0, 0], windows, VIDEO, 1, 3, threads=3))
    assert [record.id for record, _ in made] == ["clip5", "clip2", "clip0", "clip0"]
    assert made[1][1].startswith("clip2: cannot be read")
    assert [numbers(views[1]) for _, views in (made[0], *made[2:])] == [[1, 3, 5, 7], [0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(VideoError, match="clip2: cannot be read"):
        load_views(records[2], VIDEO, 1, 1)


def test_every_number_needs_its_window_and_a_consumer_may_stop_early(numbered):
    records = open_records(numbered, "train")
    with pytest.raises(ValueError, match="shorter"):
        list(evaluation_views(records, [0, 1], [(-1.0, -1.0)], VIDEO, 1, 1))
    views = evaluation_views(records, range(24), [(-1.0, -1.0)] * 24, VIDEO, 1, 1)
    assert next(views)[0].id == "clip0"
    views.close()
