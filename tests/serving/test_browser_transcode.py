"""Tests of browser-compatible copies: playable, with the same pictures at the same times."""

import fractions
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest

from svilm_jax.serving import browser_transcode
from svilm_jax.serving.browser_transcode import PlayableVideos, media_type
from svilm_jax.serving.errors import BusyError
from svilm_jax.video.decoding import Limits, VideoError, decode, probe
from tests.video.encoded_videos import encode, encode_sound, numbered_frames, numbers
from tests.video.films import MATRICES, X264, make, pattern

_PATIENCE = 600.0  # seconds for threads on a busy machine


@pytest.fixture
def videos(tmp_path):
    (tmp_path / "made").mkdir()
    return PlayableVideos(tmp_path / "made")


def write(path, container, codec, pix_fmt="yuv420p", count=20, **options):
    path.write_bytes(encode(numbered_frames(count), container=container, codec=codec, pix_fmt=pix_fmt, **options))
    return path


@pytest.mark.parametrize(
    ("name", "container", "codec", "kind"),
    [
        ("a.mp4", "mp4", "libx264", "video/mp4"),
        ("a.mov", "mov", "libx264", "video/mp4"),
        ("a.webm", "webm", "libvpx-vp9", "video/webm"),
    ],
)
def test_what_browsers_play_stays_as_it_is(tmp_path, videos, name, container, codec, kind):
    path = write(tmp_path / name, container, codec)
    assert videos.find(path) == (path, kind)
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "container", "codec", "pix_fmt"),
    [
        ("a.avi", "avi", "mpeg4", "yuv420p"),
        ("a.mkv", "matroska", "libx264", "yuv420p"),
        ("a.mp4", "mp4", "mpeg4", "yuv420p"),
        ("b.mp4", "mp4", "libx264", "yuv444p"),
        ("a.h264", "h264", "libx264", "yuv420p"),
        ("a.gif", "gif", "gif", "rgb8"),
    ],
)
def test_the_others_become_h264(tmp_path, videos, name, container, codec, pix_fmt):
    path = write(tmp_path / name, container, codec, pix_fmt)
    made, kind = videos.find(path)
    assert (made.parent, kind, media_type(made)) == (tmp_path / "made", "video/mp4", "video/mp4")
    before, after = decode(path, None), decode(made, None)
    assert numbers(after.images) == numbers(before.images)
    np.testing.assert_allclose(after.times, before.times, atol=1e-3)
    first = made.stat().st_mtime_ns
    assert videos.find(path)[0].stat().st_mtime_ns == first  # made once
    path.write_bytes(encode(numbered_frames(7), container=container, codec=codec, pix_fmt=pix_fmt))
    assert videos.find(path)[0] != made
    assert [file.suffix for file in (tmp_path / "made").iterdir()] == [".mp4"] * 2


def test_a_window_is_cut_out(tmp_path, videos):
    path = write(tmp_path / "a.avi", "avi", "mpeg4", count=28)
    made, _ = videos.find(path, 1.0, 2.0)
    before, after = decode(path, np.arange(8, 16) / 8), decode(made, None)
    np.testing.assert_allclose(after.images, before.images, atol=12)
    np.testing.assert_allclose(after.times, np.arange(8) / 8, atol=1e-3)


def test_large_and_turned_pictures(tmp_path, videos):
    path = tmp_path / "a.mkv"
    path.write_bytes(encode(numbered_frames(4, 722, 1281)[:, :, :1280], container="matroska"))
    info = probe(videos.find(path)[0])
    assert min(info.width, info.height) == 480
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(encode(numbered_frames(4), codec="mpeg4", rotation=90))
    before, after = (decode(file, [0.0]) for file in (turned, videos.find(turned)[0]))
    assert (after.info.rotation, after.info.width, after.info.height) == (before.info.rotation, 48, 64)
    np.testing.assert_allclose(after.images, before.images, atol=40)


def test_what_cannot_be_read_is_said(tmp_path, videos):
    for name, content in (("a.mp4", b"no video"), ("b.wav", encode_sound())):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VideoError, match=name):
            videos.find(tmp_path / name)
    with pytest.raises(VideoError, match="no such file"):
        videos.find(tmp_path / "none.mp4")


def test_the_oldest_goes_when_the_folder_is_full(tmp_path, videos, monkeypatch):
    monkeypatch.setattr(browser_transcode, "_KEPT_BYTES", 1)
    paths = [write(tmp_path / f"{i}.avi", "avi", "mpeg4") for i in range(4)]
    made = [videos.find(path)[0] for path in paths[:3]]
    assert [file.exists() for file in made] == [True] * 3  # all may be on their way to a browser
    monkeypatch.setattr(browser_transcode, "_SENT_SECONDS", 0.0)
    videos.find(paths[0])
    made.append(videos.find(paths[3])[0])
    assert [file.exists() for file in made] == [False, False, False, True]


def test_what_was_asked_for_last_stays(tmp_path, videos, monkeypatch):
    paths = [write(tmp_path / f"{i}.avi", "avi", "mpeg4") for i in range(3)]
    made = [videos.find(path)[0] for path in paths[:2]]
    videos.find(paths[0])
    monkeypatch.setattr(browser_transcode, "_SENT_SECONDS", 0.0)
    monkeypatch.setattr(browser_transcode, "_KEPT_BYTES", 2 * made[0].stat().st_size + 100)
    made.append(videos.find(paths[2])[0])
    assert [file.exists() for file in made] == [True, False, True]


def test_one_slow_video_holds_up_no_other(tmp_path, videos, monkeypatch):
    slow, quick = (write(tmp_path / f"{name}.avi", "avi", "mpeg4") for name in ("slow", "quick"))
    begun, go_on, made = threading.Event(), threading.Event(), []

    def waiting(path, out, *args):
        made.append(path.name)
        if path == slow:
            begun.set()
            assert go_on.wait(_PATIENCE)
        transcode(path, out, *args)

    transcode = browser_transcode.transcode
    monkeypatch.setattr(browser_transcode, "transcode", waiting)
    with ThreadPoolExecutor(browser_transcode._WAITING) as threads:
        try:
            first = [threads.submit(videos.find, slow)]
            assert begun.wait(_PATIENCE)
            assert threads.submit(videos.find, quick).result(_PATIENCE)[0].is_file()
            first += [threads.submit(videos.find, slow) for _ in range(browser_transcode._WAITING - 1)]
            until = time.monotonic() + _PATIENCE
            while videos._waiting.acquire(blocking=False):  # until all of them wait
                videos._waiting.release()
                assert time.monotonic() < until
                time.sleep(0.01)
            with pytest.raises(BusyError, match="try again"):
                videos.find(slow)
            assert videos.find(quick)[0].is_file()  # there already
        finally:
            go_on.set()
        assert len({call.result(_PATIENCE) for call in first}) == 1
    assert made == ["slow.avi", "quick.avi"]  # once each


def test_limits_hold_whatever_the_header_says(tmp_path, videos):
    path = write(tmp_path / "a.avi", "avi", "mpeg4")
    for limits, reason in (
        (Limits(max_frames=19), "more than 19 frames"),
        (Limits(max_bytes=99), "exceed the limit of 99"),
        (Limits(max_pixels=99), "64x48 pixels"),
    ):
        with pytest.raises(VideoError, match=reason):
            videos.find(path, limits=limits)
    assert videos.find(path, limits=Limits(max_frames=20))[0].is_file()


def test_sound_that_browsers_do_not_know(tmp_path, videos):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", format="mp4") as out:
        pictures = out.add_stream("libx264", rate=8)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound = out.add_stream("ac3", rate=48000, layout="mono")
        for image in numbered_frames(8):
            out.mux(pictures.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        out.mux(sound.encode(frame))
        for stream in (pictures, sound):
            out.mux(stream.encode(None))
    assert media_type(path) is None
    assert media_type(videos.find(path)[0]) == "video/mp4"


@pytest.mark.parametrize("matrix", MATRICES)
def test_every_orientation_is_played_as_it_is_seen(tmp_path, videos, matrix):
    for name, codec in (("a.mp4", "mpeg4"), ("b.mp4", "libx264")):
        path = tmp_path / name
        path.write_bytes(make("mp4", codec, matrix=matrix, images=pattern(4, 96, 160)))
        played, kind = videos.find(path)
        before, after = (decode(file, None) for file in (path, played))
        assert (kind, after.info.mirrored) == ("video/mp4", False)  # not every browser mirrors
        assert np.abs(after.images.astype(int) - before.images).mean() < 10


def test_square_pixels_colors_and_true_random_access(tmp_path, videos):
    wide = tmp_path / "wide.avi"
    wide.write_bytes(make("avi", "mpeg4", aspect=fractions.Fraction(2), images=pattern(4, 96, 160)))
    info = probe(videos.find(wide)[0])
    assert (info.height, info.width) == (96, 320)
    refreshed = tmp_path / "refresh.mkv"
    refreshed.write_bytes(make("matroska", options=X264["refresh"]))
    times = np.arange(10) / 25
    before, after = decode(refreshed, 1.5 + times), decode(videos.find(refreshed, 1.5, 1.9)[0], times)
    assert np.abs(after.images.astype(int) - before.images).mean((1, 2, 3)).max() < 12
    patches = np.repeat([(32, 64, 128), (32, 192, 48), (208, 48, 64), (224, 208, 16)], 40, axis=0).astype(np.uint8)
    colored = tmp_path / "bt709.mkv"
    colored.write_bytes(encode(np.broadcast_to(patches, (3, 96, 160, 3)), container="matroska", matrix=1))
    before, after = (decode(file, [0.0]).images[0, 48, 20::40] for file in (colored, videos.find(colored)[0]))
    np.testing.assert_allclose(after, before, atol=4)


def test_the_last_picture_stays_as_long_as_in_the_original(tmp_path, videos):
    source, path = encode(numbered_frames(5), container="gif", codec="gif", pix_fmt="rgb8"), tmp_path / "held.gif"
    with av.open(io.BytesIO(source)) as read, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(read.streams.video[0])
        packets = [packet for packet in read.demux(read.streams.video[0]) if packet.size]
        packets[-1].duration = 900
        for packet in packets:
            packet.stream = stream
            out.mux(packet)
    before, after = (probe(file) for file in (path, videos.find(path)[0]))
    assert before.duration > 9
    assert after.duration == pytest.approx(before.duration, abs=0.3)
