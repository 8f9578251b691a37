"""Tests that no skipped packet is needed by a frame that is shown."""

import io

import av
import numpy as np
import pytest

from svilm_jax.video import demuxer, reader
from svilm_jax.video.bitstream import Bitstream
from svilm_jax.video.decoding import decode, probe
from tests.video.encoded_videos import encode

B_FRAMES = {"libx264": {"bf": "3", "x264-params": "b-pyramid=normal:scenecut=0"}, "mpeg4": {"bf": "2"}}


@pytest.fixture(scope="module")
def waves() -> np.ndarray:
    """uint8 [90, 48, 64, 3]: moving enough that pictures are predicted from each other."""
    t, y, x = np.mgrid[:90, :48, :64]
    bright = 128 + 60 * np.sin(x / 5 + t / 3) + 50 * np.cos(y / 4 - t / 5)
    return np.repeat(bright[..., None], 3, axis=3).astype(np.uint8)


@pytest.fixture
def readers(monkeypatch) -> list[reader.VideoReader]:
    """Every reader that has read, in that order."""
    seen: list[reader.VideoReader] = []
    original = reader.VideoReader.read

    def read(self, *args):
        seen.append(self)
        return original(self, *args)

    monkeypatch.setattr(reader.VideoReader, "read", read)
    return seen


@pytest.mark.parametrize("kept", [64 << 20, 0])
@pytest.mark.parametrize(
    ("container", "codec"), [("mp4", "libx264"), ("matroska", "libx264"), ("mpegts", "libx264"), ("mp4", "mpeg4")]
)
def test_frames_are_the_same_to_the_bit(waves, readers, monkeypatch, container, codec, kept):
    monkeypatch.setattr(demuxer, "_KEPT_BYTES", kept)
    video = encode(waves, container=container, codec=codec, gop=30, options=B_FRAMES[codec])
    every = decode(video, None)
    times = np.linspace(0, probe(video).duration, 12, endpoint=False)
    some = decode(video, times)
    assert np.array_equal(some.indices, every.at(times).indices)
    assert np.array_equal(some.images, every.images[some.indices])
    assert readers[1].decoded < 0.8 * readers[0].decoded
    assert readers[1]._skipped


def test_stamps_that_are_not_the_pictures_own_leave_nothing_out(waves, readers):
    """AVI knows no order but that of decoding: which picture is wanted is not known before it is decoded."""
    video = encode(waves, container="avi", gop=30, options=B_FRAMES["libx264"])
    every = decode(video, None)
    times = np.linspace(0, 11, 12)
    some = decode(video, times)
    assert np.array_equal(some.images, every.at(times).images)
    assert not readers[1]._skipped


@pytest.mark.parametrize("container", ["mp4", "mpegts"])
def test_the_rest_decodes_without_what_is_dispensable(waves, container):
    video = encode(waves, container=container, gop=30, options=B_FRAMES["libx264"])
    shown = []
    for leave_out in (False, True):
        with av.open(io.BytesIO(video)) as file:
            stream = file.streams.video[0]
            bitstream = Bitstream(stream.codec_context)
            sent = [packet for packet in file.demux(stream) if not (leave_out and bitstream.disposable(packet))]
            shown.append({f.pts: f.to_ndarray(format="rgb24") for packet in sent for f in packet.decode()})
    every, rest = shown
    assert 20 < len(rest) < 0.7 * len(every)
    assert all(np.array_equal(image, every[pts]) for pts, image in rest.items())


def test_nothing_is_dispensable_where_it_cannot_be_told(waves):
    video = encode(waves, container="webm", codec="libvpx")
    with av.open(io.BytesIO(video)) as file:
        stream = file.streams.video[0]
        bitstream = Bitstream(stream.codec_context)
        assert not any(bitstream.disposable(packet) for packet in file.demux(stream))
