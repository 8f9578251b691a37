"""Tests of decoding: the frame on screen at a given time, for every kind of file, or a specific error."""

import json
import pickle

import numpy as np
import pytest

from svilm_jax.video import decoding
from svilm_jax.video.decoding import Limits, VideoError, decode, probe
from tests.video.encoded_videos import encode, encode_sound, numbered_frames, numbers

KINDS = [
    ("mp4", "libx264", "yuv420p"),
    ("mp4", "libx264", "yuv420p10le"),
    ("mp4", "libx264", "yuv444p"),
    ("webm", "libvpx", "yuv420p"),
    ("webm", "libvpx-vp9", "yuv420p"),
    ("matroska", "libx264", "yuv420p"),
    ("avi", "mpeg4", "yuv420p"),
    ("mov", "mjpeg", "yuvj420p"),
    ("mpegts", "libx264", "yuv420p"),
    ("flv", "libx264", "yuv420p"),
    ("gif", "gif", "rgb8"),
]


@pytest.mark.parametrize(("container", "codec", "pix_fmt"), KINDS)
def test_every_container_and_codec_gives_its_frames_in_order(container, codec, pix_fmt):
    video = encode(numbered_frames(12), container=container, codec=codec, pix_fmt=pix_fmt)
    frames = decode(video, None)
    assert numbers(frames.images) == list(range(12))
    assert frames.images.dtype == np.uint8
    assert frames.images.shape == (12, 48, 64, 3)
    assert frames.indices.tolist() == list(range(12))
    assert frames.info.duration == pytest.approx(1.5, abs=0.05)
    sampled = decode(video, lambda info: (np.arange(6) + 0.7) / 6 * info.duration)
    assert numbers(sampled.images) == [1, 3, 5, 7, 9, 11]


def test_colors_are_rgb():
    frames = decode(encode(numbered_frames(2)), [0.0])
    red, green, blue = frames.images[0, 4, 4].astype(int)
    assert red > 200
    assert green < 60
    assert blue < 60


def test_grey_and_odd_sizes():
    gray = decode(encode(numbered_frames(6), pix_fmt="gray"), None).images
    assert (gray[..., 0] == gray[..., 2]).all()
    odd = decode(encode(numbered_frames(4, 47, 63), pix_fmt="yuv444p"), None)
    assert odd.images.shape == (4, 47, 63, 3)


def test_variable_rate_is_sampled_by_time():
    times = [0.0, 0.1, 0.2, 1.0, 1.1, 2.0, 2.05, 3.0]
    video = encode(numbered_frames(8), times=times)
    frames = decode(video, [0.0, 0.15, 0.99, 1.0, 1.99, 2.04, 2.9, 3.01])
    assert frames.indices.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert numbers(frames.images) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert np.allclose(frames.times, times, atol=2e-3)


def test_times_in_any_order_and_outside_the_video():
    frames = decode(encode(numbered_frames(16)), [1.0, 0.25, 2.1, 0.25, -5.0])
    assert frames.indices.tolist() == [8, 2, 15, 2, 0]
    assert numbers(frames.images) == [8, 2, 15, 2, 0]


def test_a_frame_lasts_from_its_own_time():
    video = encode(numbered_frames(10), fps=10)
    every = decode(video, None)
    again = decode(video, every.times)
    assert again.indices.tolist() == list(range(10))
    assert every.at(every.times).indices.tolist() == list(range(10))
    assert every.at([0.05, 0.1499, 0.15]).indices.tolist() == [0, 1, 1]


@pytest.mark.parametrize(("rotation", "corner"), [(0, (0, 0)), (90, (-1, 0)), (180, (-1, -1)), (-90, (0, -1))])
def test_rotation_metadata_is_honoured(rotation, corner):
    video = encode(numbered_frames(4), rotation=rotation)
    frames = decode(video, [0.0])
    info = probe(video)
    assert frames.images.shape[1:3] == (info.height, info.width) == ((64, 48) if rotation % 180 else (48, 64))
    assert info.rotation == rotation % 360
    picture = frames.images[0]
    row, column = (4 if side == 0 else -4 for side in corner)
    assert picture[row, column, 0] > 200
    assert picture[-row, -column, 0] < 60


def test_scaling_while_decoding():
    video = encode(numbered_frames(6))
    assert decode(video, [0.0, 0.5], short_side=24).images.shape == (2, 24, 32, 3)
    assert decode(video, [0.0], short_side=100).images.shape == (1, 48, 64, 3)
    assert decode(video, [0.0], size=(20, 20)).images.shape == (1, 20, 20, 3)
    assert decode(encode(numbered_frames(2), rotation=90), [0.0], short_side=24).images.shape == (1, 32, 24, 3)
    assert numbers(decode(video, [0.5], short_side=24).images) == [4]
    with pytest.raises(ValueError, match="not both"):
        decode(video, [0.0], short_side=24, size=(20, 20))


def test_file_by_path(tmp_path):
    path = tmp_path / "clip with spaces.mp4"
    path.write_bytes(encode(numbered_frames(4)))
    assert numbers(decode(path, None).images) == [0, 1, 2, 3]
    assert probe(str(path)).frames == 4
    with pytest.raises(VideoError, match=r"gone\.mp4.*no such file"):
        decode(tmp_path / "gone.mp4", None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"not a video at all" * 50, "cannot be read"),
        (encode_sound(), "no video stream, only audio"),
        (encode(numbered_frames(8))[:600], "cannot be read|no frame|truncated"),
    ],
)
def test_unusable_files_are_named_with_their_reason(content, reason):
    with pytest.raises(VideoError, match=f"^clip7: .*({reason})") as caught:
        decode(content, [0.0], name="clip7")
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert str(again) == str(caught.value)


def test_truncated_file_is_refused_and_not_frozen(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), np.uint8)
    path = str(tmp_path / "whole.mp4")
    video = encode(frames, gop=5, path=path, flags={"movflags": "faststart"})
    half = video[: len(video) // 2]  # the index in front still claims all 5 seconds
    assert probe(half).duration == pytest.approx(5.0)
    with pytest.raises(VideoError, match="truncated"):
        decode(half, lambda info: np.linspace(0, info.duration * 0.99, 8))
    with pytest.raises(VideoError, match="truncated"):
        decode(half, None)
    # What lies before the cut is as good as ever.
    assert decode(half, [0.0, 1.0]).indices.tolist() == [0, 8]


@pytest.mark.parametrize("container", ["matroska", "avi", "flv"])
def test_a_file_cut_short_is_refused_whatever_the_container(tmp_path, container):
    frames = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), np.uint8)
    codec = "mpeg4" if container == "avi" else "libx264"
    video = encode(frames, container=container, codec=codec, gop=5, path=str(tmp_path / "whole"))
    assert probe(video).missing == 0
    for share in (0.3, 0.5, 0.8):
        cut = video[: int(len(video) * share)]
        info = probe(cut)
        assert info.duration == pytest.approx(5.0, abs=0.3)
        assert 0.5 < info.missing < 5
        with pytest.raises(VideoError, match="truncated"):
            decode(cut, lambda info: (np.arange(8) + 0.5) / 8 * info.duration)
        with pytest.raises(VideoError, match="truncated"):
            decode(cut, None)
        assert decode(cut, [0.0, 0.25]).indices.tolist() == [0, 2]


def test_truncated_file_without_a_stated_length_is_as_long_as_it_is():
    frames = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), np.uint8)
    for container, flags in (("matroska", {"live": "1"}), ("mpegts", {})):
        video = encode(frames, container=container, gop=5, flags=flags)
        assert probe(video).duration == pytest.approx(5.0)
        info = probe(video[: len(video) // 2])
        assert 2.0 < info.duration < 3.0
        assert info.missing == 0


def test_limits():
    video = encode(numbered_frames(10))
    for limits, reason in [
        (Limits(max_bytes=100), "bytes exceed"),
        (Limits(max_pixels=1000), "pixels exceed"),
        (Limits(max_seconds=1.0), "s exceed"),
        (Limits(max_frames=5), "more than 5 frames"),
        (Limits(max_output_bytes=20_000), "exceed the limit of 20000 bytes"),
    ]:
        with pytest.raises(VideoError, match=reason):
            decode(video, np.arange(10) / 8, limits=limits)
    webm = encode(numbered_frames(10), container="webm", codec="libvpx")  # says nothing of its frames
    with pytest.raises(VideoError, match="more than 2 frames"):
        decode(webm, None, limits=Limits(max_output_bytes=20_000))


def test_playlists_are_not_followed(tmp_path):
    (tmp_path / "real.mp4").write_bytes(encode(numbered_frames(4)))
    playlist = tmp_path / "list.mp4"
    playlist.write_text("ffconcat version 1.0\nfile real.mp4\n")
    with pytest.raises(VideoError):
        decode(playlist, [0.0])
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.5,\nreal.mp4\n#EXT-X-ENDLIST\n")
    with pytest.raises(VideoError):
        decode(playlist, [0.0])


def test_wrong_times_are_the_callers_mistake():
    video = encode(numbered_frames(4))
    for times in ([], [float("nan")], [[0.0]]):
        with pytest.raises(ValueError, match="finite seconds"):
            decode(video, times)


def test_real_clips_decode_as_their_index_says(realdata):
    entries = json.loads((realdata / "videos" / "index.json").read_text())
    seen = 0
    for entry in entries[:: 1 if len(entries) < 80 else 4]:
        stated = entry["probe"]
        if stated["size"] > 330_000:
            continue  # keeps the test short
        path = realdata / entry["file"]
        frames = decode(path, lambda info: (np.arange(8) + 0.5) / 8 * info.duration, short_side=32)
        assert (np.diff(frames.indices) >= 0).all()
        if "decoded" in stated:
            every = decode(path, None, short_side=32)
            assert len(every.images) == stated["decoded"], path.name
            assert np.array_equal(every.images[frames.indices], frames.images), path.name
        seen += 1
    assert seen > 5


def test_real_rotated_clips_show_the_same_scene(realdata):
    folder = realdata / "videos" / "decoder_edge"
    upright, turned = probe(folder / "video_0.mov"), probe(folder / "video_90.mov")
    assert (upright.width, upright.height, upright.rotation) == (568, 320, 0)
    assert (turned.width, turned.height) == (320, 568)
    assert decoding.decode(folder / "video_90.mov", [0.0]).images.shape == (1, 568, 320, 3)
