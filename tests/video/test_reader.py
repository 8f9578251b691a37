"""Tests that seeking in long videos yields exactly the frames of sequential decoding."""

import numpy as np
import pytest

from svilm_jax.video import reader
from svilm_jax.video.decoding import decode
from tests.video.encoded_videos import encode, numbered_frames, numbers


@pytest.fixture(scope="module")
def long_frames() -> np.ndarray:
    return numbered_frames(400, 32, 32)


@pytest.fixture
def decoded(monkeypatch) -> list[int]:
    """How many frames each reader has decoded, in the order of their closing."""
    counts: list[int] = []
    original = reader.VideoReader.read

    def read(self, *args):
        result = original(self, *args)
        counts.append(self.decoded)
        return result

    monkeypatch.setattr(reader.VideoReader, "read", read)
    return counts


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "avi"])
def test_seeking_changes_nothing_but_the_work(long_frames, container, decoded, monkeypatch):
    codec = "mpeg4" if container == "avi" else "libx264"
    video = encode(long_frames, container=container, codec=codec, gop=10)
    times = np.array([3.0, 20.07, 20.3, 41.9, 49.9])
    jumping = decode(video, times)
    monkeypatch.setattr(reader, "_LONG_VIDEO_FRAMES", 10**9)
    walking = decode(video, times)
    assert np.array_equal(jumping.indices, walking.indices)
    assert np.array_equal(jumping.images, walking.images)
    assert np.allclose(jumping.times, walking.times)
    assert numbers(jumping.images) == [i % 28 for i in [24, 160, 162, 335, 399]]
    if container in ("mp4", "matroska"):
        assert decoded[0] < decoded[1] / 4


@pytest.mark.parametrize("damage", ["lost", "stamps"])
def test_frames_are_never_miscounted(long_frames, monkeypatch, damage):
    """A frame that does not decode, or time stamps out of order: seeking gives up, and counting decides."""
    video = encode(long_frames, container="matroska", gop=10)
    original = reader.VideoReader._stream_frames

    def damaged(self):
        for frame in original(self):
            place = round(frame.pts * 8 / 1000)
            if damage == "lost" and place == 161:
                continue
            if damage == "stamps" and place in (161, 162):
                frame.pts = round((323 - place) * 125)
            yield frame

    monkeypatch.setattr(reader.VideoReader, "_stream_frames", damaged)
    times = [20.3, 45.0]
    jumping = decode(video, times)
    monkeypatch.setattr(reader, "_LONG_VIDEO_FRAMES", 10**9)
    walking = decode(video, times)
    assert np.array_equal(jumping.indices, walking.indices)
    assert np.array_equal(jumping.images, walking.images)
