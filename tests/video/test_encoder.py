"""Tests of the H.264 encoder, and of the public names of the package."""

import inspect

import av.error
import numpy as np
import pytest

import svilm_jax.video
from svilm_jax.video import VideoError, VideoInfo, decode, probe
from svilm_jax.video.encoder import Encoder, EncoderOptions, encode_frames
from tests.video.encoded_videos import numbered_frames, numbers


def test_frames_come_back_evenly_spaced(tmp_path):
    images = numbered_frames(12)
    encode_frames(tmp_path / "a.mp4", images, 8, EncoderOptions())
    decoded = decode(tmp_path / "a.mp4", None)
    assert numbers(decoded.images) == numbers(images)
    np.testing.assert_allclose(decoded.times, np.arange(12) / 8, atol=1e-3)
    assert (decoded.info.codec, decoded.info.fps) == ("h264", 8)


def test_pictures_appear_at_their_ticks(tmp_path):
    images, ticks = numbered_frames(4), (0, 10, 250, 900)
    options = EncoderOptions(ticks_per_second=1000, fast_start=True)
    with Encoder(tmp_path / "a.mp4", 48, 64, 25, options) as encoder:
        for image, tick in zip(images, ticks, strict=True):
            encoder.write(image, tick)
    decoded = decode(tmp_path / "a.mp4", None)
    assert numbers(decoded.images) == numbers(images)
    np.testing.assert_allclose(decoded.times, np.array(ticks) / 1000, atol=1e-3)
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_options_reach_the_encoder(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (12, 48, 64, 3), np.uint8)
    sizes = []
    for crf in (18, 40):
        encode_frames(tmp_path / "a.mp4", images, 8, EncoderOptions("ultrafast", crf=crf))
        sizes.append((tmp_path / "a.mp4").stat().st_size)
    assert sizes[0] > 2 * sizes[1]
    encode_frames(tmp_path / "b.mp4", numbered_frames(12), 8, EncoderOptions(key_interval=3, rotation=90))
    info = probe(tmp_path / "b.mp4")
    assert (info.rotation, info.width, info.height) == (90, 48, 64)
    with av.open(str(tmp_path / "b.mp4")) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert keys == [True, False, False] * 4


def test_one_thread_gives_the_same_bytes(tmp_path):
    for name in "ab":
        encode_frames(tmp_path / name, numbered_frames(12), 8, EncoderOptions(threads=1))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_cannot_be_encoded_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"a.mp4: no picture to encode"):
        encode_frames(tmp_path / "a.mp4", [], 8, EncoderOptions())
    with pytest.raises(av.error.FFmpegError):
        encode_frames(tmp_path / "b.mp4", np.zeros((2, 47, 63, 3), np.uint8), 8, EncoderOptions())


def test_an_error_of_the_caller_is_not_replaced(tmp_path):
    def write():
        with Encoder(tmp_path / "a.mp4", 48, 64, 8, EncoderOptions()):
            raise KeyError("of the caller")

    with pytest.raises(KeyError, match="of the caller"):
        write()


def test_public_names():
    assert sorted(svilm_jax.video.__all__) == ["VideoError", "VideoInfo", "decode", "probe"]
    for name in svilm_jax.video.__all__:
        assert inspect.getdoc(getattr(svilm_jax.video, name))
    for function, result in ((probe, VideoInfo), (decode, svilm_jax.video.decoding.Frames)):
        assert inspect.signature(function).return_annotation is result
    assert issubclass(VideoError, ValueError)
