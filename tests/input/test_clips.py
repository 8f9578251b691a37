"""Tests of evaluation clips: matching frames, crops and masks."""

import dataclasses

import numpy as np
import pytest

from svilm_jax.config import VideoConfig
from svilm_jax.input.clips import FrameCache, clip_masks, decode_clip, evaluation_clips, load_clip
from svilm_jax.input.records import open_records
from svilm_jax.input.schema import Record
from tests.video.encoded_videos import encode, numbered_frames, numbers

VIDEO = VideoConfig(num_frames=4, image_size=32)


def test_clip_is_the_middle_in_time_and_space(numbered):
    record = open_records(numbered, "validation")[3]
    clip = load_clip(record, VIDEO)
    assert clip.error is None
    assert clip.frames.shape == (4, 32, 32, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.indices.tolist() == [1, 3, 5, 7]
    assert clip.times == pytest.approx([0.125, 0.375, 0.625, 0.875])
    assert clip.duration == pytest.approx(1.0)
    assert numbers(clip.frames) == [1, 3, 5, 7]
    assert load_clip(record, VIDEO, 0.0, 0.5).indices.tolist() == [0, 1, 2, 3]


def test_masks_follow_the_frames(numbered):
    clip = load_clip(open_records(numbered, "validation")[0], VIDEO)
    masks = clip_masks(clip)
    assert masks.shape == (4, 32, 32)
    red = (clip.frames[..., 0] > 150) & (clip.frames[..., 1] < 90)
    assert (red == (masks == 1)).mean() > 0.96
    assert (masks == 1).any()
    assert (masks[:, -1, 4] == clip.indices + 2).all()
    short = dataclasses.replace(clip.record, masks=clip.record.masks[:5])
    with pytest.raises(ValueError, match="frame 7 has no mask, there are 5"):
        clip_masks(dataclasses.replace(clip, record=short))
    with pytest.raises(ValueError, match="has no masks"):
        clip_masks(dataclasses.replace(clip, record=dataclasses.replace(clip.record, masks=None)))


def test_clips_come_in_order_with_their_errors(numbered):
    records = open_records(numbered, "mixed")
    clips = list(evaluation_clips(records, [5, 2, 0, 0], VIDEO, threads=3))
    assert [clip.record.id for clip in clips] == ["clip5", "clip2", "clip0", "clip0"]
    assert [clip.error is None for clip in clips] == [True, False, True, True]
    assert clips[1].error.startswith("clip2: cannot be read")
    assert not clips[1].frames.any()
    with pytest.raises(ValueError, match="clip2: could not be decoded"):
        clip_masks(clips[1])


def test_windows_go_with_their_index(numbered):
    records = open_records(numbered, "validation")
    clips = list(evaluation_clips(records, [1, 1, 1], VIDEO, windows=[None, (0.0, 0.5), (0.5, 1.0)]))
    assert [clip.indices.tolist() for clip in clips] == [[1, 3, 5, 7], [0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_consumer_may_stop_early(numbered):
    records = open_records(numbered, "train")
    clips = evaluation_clips(records, range(24), VIDEO)
    assert next(clips).record.id == "clip0"
    clips.close()


def test_large_files_are_scaled_while_they_decode():
    record = Record("big", encode(numbered_frames(4, 240, 320)))
    frames = decode_clip(record, VIDEO)
    assert min(frames.images.shape[1:3]) == 48
    assert decode_clip(Record("small", encode(numbered_frames(4))), VIDEO).images.shape[1:3] == (48, 64)


def test_cache_changes_nothing_and_keeps_its_budget(numbered):
    records = open_records(numbered, "train")
    one = 8 * 40 * 48 * 3
    cache = FrameCache(3 * one)
    for _ in range(2):
        for index in range(6):
            plain = decode_clip(records[index], VIDEO, 0.0, 0.5, np.random.default_rng(index))
            kept = decode_clip(records[index], VIDEO, 0.0, 0.5, np.random.default_rng(index), cache, index)
            assert np.array_equal(plain.images, kept.images)
            assert np.array_equal(plain.indices, kept.indices)
    assert [cache.get(index) is not None for index in range(6)] == [True] * 3 + [False] * 3
