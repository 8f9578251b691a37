"""Tests of re-encoding: the same frames, upright, evenly spaced in time and of the requested size."""

import fractions
import subprocess
import sys

import numpy as np
import pytest
from svilm_data.pipeline.transcoding import EncodingOptions, transcode

from svilm_jax.video.decoding import VideoError, VideoInfo, VideoReader, decode, probe
from tests.data.weird_videos import write_video
from tests.video.films import MATRICES, UNSTEADY, X264, make, pattern


def encode(path, **options):
    target = path.with_name("small.mp4")
    transcode(path, target, EncodingOptions(**options), probe(path))
    return target


def test_frames_are_those_on_screen_at_even_times(tmp_path):
    # Variable frame rate: dark for 1.5 s but for a flash, then bright.
    path = write_video(
        tmp_path / "clip.mkv",
        times=[0, 0.1, 0.2, 1.5, 1.75],
        colors=[(20, 20, 20), (120, 120, 120), (20, 20, 20), (220, 220, 220), (220, 220, 220)],
    )
    frames = decode(encode(path, fps=4), None)
    levels = frames.images.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(np.diff(frames.times), 0.25, atol=1e-3)
    np.testing.assert_allclose(levels[:8], [20, 20, 20, 20, 20, 20, 220, 220], atol=8)


def test_size(tmp_path):
    path = write_video(tmp_path / "clip.mp4", size=(49, 99))  # H.264 with full chroma may be of odd sizes
    assert (probe(path).height, probe(path).width) == (49, 99)
    for options, size in (({"short_side": 32}, (32, 64)), ({"short_side": 480}, (48, 98)), ({"fps": 4}, (48, 98))):
        info = probe(encode(path, **options))
        assert (info.height, info.width) == size, options
        assert info.duration == pytest.approx(2.0, abs=0.13)


def test_either_option_alone_leaves_the_other_property():
    info = VideoInfo(duration=2, width=640, height=360, fps=29.97, rotation=0, codec="", frames=0)
    assert EncodingOptions(short_side=180).size(info) == (180, 320)
    assert float(EncodingOptions(short_side=180).rate(info)) == pytest.approx(29.97, abs=1e-3)
    assert EncodingOptions(fps=10).size(info) == (360, 640)
    assert EncodingOptions(fps=10).rate(info) == 10
    assert EncodingOptions(fps=100).rate(info) == pytest.approx(29.97, abs=1e-3)
    assert not EncodingOptions()


def test_rotation_is_applied(realdata, tmp_path):
    source = realdata / "videos" / "decoder_edge" / "video_90.mov"
    info = probe(source)
    assert info.rotation in (90, 270)
    target = tmp_path / "upright.mp4"
    transcode(source, target, EncodingOptions(short_side=160), info)
    made = probe(target)
    assert made.rotation == 0
    assert made.width / made.height == pytest.approx(info.width / info.height, rel=0.02)
    one, two = (decode(p, [0.0], size=(32, 32)).images.astype(float) for p in (source, target))
    assert np.abs(one - two).mean() < 8
    assert np.abs(one - two[:, ::-1, ::-1]).mean() > 16  # it would have shown


def test_one_frame_is_held_at_a_time(tmp_path):
    """Half a minute is 70 MiB of pixels, which must not add up."""
    path = write_video(tmp_path / "long.mp4", size=(320, 320), times=[i / 8 for i in range(240)])
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from svilm_data.pipeline.transcoding import EncodingOptions, transcode\n"
        "from svilm_jax.video.decoding import probe\n"
        "source, target = map(Path, sys.argv[1:]); info = probe(source)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "transcode(source, target, EncodingOptions(fps=8), info)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), str(tmp_path / "new.mp4")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 40, "MiB more than before"


def test_the_same_file_gives_the_same_bytes(tmp_path):
    path = write_video(tmp_path / "clip.webm")
    assert encode(path, short_side=32).read_bytes() == encode(path, short_side=32).read_bytes()


def cut(path, start, end, **options):
    target = path.with_name("cut.mp4")
    transcode(path, target, EncodingOptions(**options), probe(path), (start, end))
    return decode(target, None)


def test_a_part_begins_and_ends_with_the_frame_on_screen(tmp_path):
    # The picture tells the time; its key frames do not lie where the parts begin.
    grays = [(37 * i) % 200 + 20 for i in range(120)]
    for ending in (".mp4", ".webm", ".avi"):
        path = write_video(
            tmp_path / f"clip{ending}", times=[i / 8 for i in range(120)], colors=[(g, g, g) for g in grays]
        )
        for start, end in ((0, 1), (0.55, 1.05), (7.3, 8.3), (11.125, 12), (14.2, 20)):
            frames = cut(path, start, end, fps=8)
            count = round((min(end, 15) - start) * 8)
            assert len(frames.images) == count, (ending, start)
            np.testing.assert_allclose(frames.times, np.arange(count) / 8, atol=2e-3)
            levels = frames.images.mean(axis=(1, 2, 3))
            expected = [grays[int((start + k / 8) * 8 + 1e-3)] for k in range(count)]
            np.testing.assert_allclose(levels, expected, atol=8, err_msg=f"{ending} {start}")


def test_real_files_are_cut_exactly(realdata, tmp_path):
    for name in ("msvd/klteYv1Uv9A_27_33.avi", "ucf101/v_Biking_g05_c02.avi", "kinetics400/R6llTwEh07w.mp4"):
        path = realdata / "videos" / name
        info = probe(path)
        start = 0.45 * info.duration
        target = tmp_path / "cut.mp4"
        transcode(path, target, EncodingOptions(fps=5), info, (start, start + 1))
        wanted = [start + k / 5 for k in range(5)]
        one, two = decode(path, wanted, size=(64, 64)).images.astype(float), decode(target, None, size=(64, 64)).images
        errors = [[np.abs(a - b).mean() for b in one] for a in two.astype(float)]
        assert np.diag(errors).max() < 6, name


def test_a_part_of_a_long_video_is_not_decoded_from_its_start(tmp_path, monkeypatch):
    path = write_video(
        tmp_path / "long.mp4", size=(32, 32), times=[i / 8 for i in range(2400)], colors=[(9, 9, 9)] * 2400
    )
    taken, play = [], VideoReader.play
    monkeypatch.setattr(VideoReader, "play", lambda *args: (taken.append(1) or pair for pair in play(*args)))
    assert len(cut(path, 280, 281).images) == 8
    assert 8 <= len(taken) < 300  # one group of pictures and a second, of 2,400


def test_parts_that_cannot_be_cut(tmp_path, realdata):
    path = write_video(tmp_path / "clip.mp4")
    for start, end, reason in (
        (2.5, 3, r"its segment from 2\.50 to 3\.00 s is after its end at 2\.00 s"),
        (1, 1, "is empty"),
        (-1, 1, "is empty"),
    ):
        with pytest.raises(VideoError, match=reason):
            cut(path, start, end)
    broken = realdata / "videos" / "decoder_edge" / "corrupted.mp4"
    with pytest.raises(VideoError, match="damaged: a packet at .* s does not decode"):
        transcode(broken, tmp_path / "new.mp4", EncodingOptions(), probe(broken), (2.6, 3.4))


@pytest.mark.parametrize("matrix", MATRICES)
def test_every_orientation_is_applied(tmp_path, matrix):
    path = tmp_path / "clip.mp4"
    path.write_bytes(make("mp4", matrix=matrix, images=pattern(4, 64, 96)))
    upright = decode(path, None)
    made = decode(encode(path, short_side=48), None, size=upright.images.shape[1:3])
    assert (made.info.rotation, made.info.mirrored) == (0, False)
    assert np.abs(made.images.astype(int) - upright.images).mean() < 16  # of other orientations, 60 and more


def test_pixels_become_square(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(make("mp4", aspect=fractions.Fraction(2), images=pattern(4, 128, 192)))
    for options, size in (({"short_side": 64}, (64, 192)), ({"fps": 5}, (128, 384))):
        info = probe(encode(path, **options))
        assert (info.height, info.width) == size


def test_no_picture_is_lost_where_the_rate_varies(tmp_path):
    """Ten pictures a second, a pause, ten a second: the mean rate is under three."""
    times = [i / 10 for i in range(6)] + [3.5 + i / 10 for i in range(6)]
    grays = [20 + 18 * i for i in range(12)]
    path = write_video(tmp_path / "clip.mp4", times=times, colors=[(g, g, g) for g in grays])
    for options in ({"fps": 10}, {"fps": 30}, {"short_side": 32}):
        frames = decode(encode(path, **options), None)
        assert frames.info.fps == pytest.approx(10, rel=0.01)
        levels = frames.images.mean(axis=(1, 2, 3))
        assert all(np.abs(levels - gray).min() < 5 for gray in grays), options


@pytest.mark.parametrize("container", ["matroska", "mpegts", "mp4"])
def test_rounded_time_stamps_lose_no_picture(tmp_path, container):
    """At 29.97 frames per second in milliseconds, one frame in three comes late by a fraction of one."""
    path = tmp_path / "clip"
    path.write_bytes(make(container, options=X264["no_b"], times=tuple(round(i * 1001 / 30000, 3) for i in range(64))))
    before, after = decode(path, None), decode(encode(path, short_side=48), None)
    assert len(after.images) == 64
    assert np.abs(after.images.astype(int) - before.images).mean((1, 2, 3)).max() < 12


def test_parts_begin_at_true_random_access_points(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(make("mp4", options=X264["refresh"]))
    whole = decode(path, None)
    for start in (0.8, 1.3, 2.0):
        frames = cut(path, start, start + 0.4)
        expected = whole.images[round(start * 25) : round(start * 25) + 10]
        assert np.abs(frames.images.astype(int) - expected).mean((1, 2, 3)).max() < 12


def test_a_pause_is_kept_and_a_part_of_an_unsteady_film_is_exact(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(make("mp4", times=UNSTEADY))
    frames = cut(path, 1.0, 2.5, fps=20)
    shown = decode(path, 1.0 + np.arange(30) / 20)
    assert np.abs(frames.images.astype(int) - shown.images).mean((1, 2, 3)).max() < 12


def test_a_part_beyond_the_end_of_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "clip.mkv"
    video = make("matroska")
    path.write_bytes(video[: len(video) // 2])
    info = probe(path)
    assert info.missing > 0.5
    transcode(path, tmp_path / "part.mp4", EncodingOptions(), info, (0.2, 0.8))
    with pytest.raises(VideoError, match="truncated: its segment lasts from 0.50 to 2.30 s, and its packets end at"):
        transcode(path, tmp_path / "part.mp4", EncodingOptions(), info, (0.5, 2.3))
