"""Tests of video stream properties: duration, rates, orientation, pixel shape, stream choice; and placeholder files."""

import io
from typing import Any

import av
import numpy as np
import pytest

from svilm_jax.video import stream_properties
from svilm_jax.video.decoding import VideoError, decode, probe
from tests.video.encoded_videos import encode, numbered_frames, numbers
from tests.video.films import MATRICES, STEADY, make, pattern


def test_a_gif_stays_as_long_as_its_last_frame_says():
    times = [i / 10 for i in range(9)] + [18.0]  # the ninth stays until the tenth, 17.2 s later
    video = encode(numbered_frames(10), container="gif", codec="gif", pix_fmt="rgb8", times=times, fps=10)
    info = probe(video)
    assert info.duration == pytest.approx(18.0, abs=1.5)
    assert info.peak_fps == pytest.approx(10.0)
    middles = decode(video, (np.arange(8) + 0.5) / 8 * info.duration)
    assert numbers(middles.images) == [8] * 7 + ([9] if middles.times[-1] > 17.9 else [8])


@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_a_packet_says_how_long_its_frame_stays(container):
    """A slide show whose last picture stays for 20 seconds."""
    source = encode(numbered_frames(5), fps=1, options={"bf": "0"})
    buffer = io.BytesIO()
    with av.open(io.BytesIO(source)) as read, av.open(buffer, "w", format=container) as out:
        stream = out.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(read.streams.video[0]):
            if packet.size:
                if packet.pts == 4 / packet.time_base:
                    packet.duration = int(20 / packet.time_base)
                packet.stream = stream
                out.mux(packet)
    info = probe(buffer.getvalue())
    assert info.duration == pytest.approx(24.0, abs=0.01)
    frames = decode(buffer.getvalue(), [3.5, 4.5, 12.0, 23.9])
    assert numbers(frames.images) == [3, 4, 4, 4]


@pytest.mark.parametrize(
    ("gaps", "mean", "peak"),
    [
        ([40] * 50, 25.0, 25.0),
        ([33, 33, 34] * 30, 30.0, 30.0),  # rounded to milliseconds
        ([100] * 5 + [3000] + [100] * 5, 11 / 4, 10.0),
        ([2000] * 3 + [20000], 4 / 26, 0.5),
        ([1000] * 20 + [40] * 10, 30 / 20.4, 25.0),
        ([33, 28, 39, 35, 30, 34] * 20, 30.2, 30.2),  # a jittering clock
        ([40] * 100 + [1] + [40] * 100, 201 / 8.001, 201 / 8.001),  # one freak
        ([1] * 40, 1000.0, 1000.0),
        ([0, 0], 0.0, 0.0),
        ([], 0.0, 0.0),
    ],
)
def test_the_peak_rate_is_that_of_the_parts_that_move(gaps, mean, peak):
    stamps = np.cumsum([7, *gaps]).tolist()
    rates = stream_properties.frame_rates(stamps, 1 / 1000)
    assert rates == pytest.approx((mean, peak), rel=0.02)


def test_concatenated_files_are_one_film():
    one, two = (make("mpegts", images=pattern()[::step]) for step in (1, -1))
    frames = decode(one + two, None)
    parts = [decode(part, None).images for part in (one, two)]
    assert np.array_equal(frames.images, np.concatenate(parts))
    np.testing.assert_allclose(frames.times, [*STEADY, *(STEADY[-1] + 0.04 + np.array(STEADY))], atol=1e-3)
    assert frames.info.duration == pytest.approx(2 * len(STEADY) / 25)


def _two_streams(defaults: tuple[bool, bool], sizes: tuple[int, int]) -> bytes:
    """A Matroska file with two videos, dark and bright, of these heights."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska", options={"default_mode": "passthrough"}) as out:
        streams: list[Any] = []
        for default, size in zip(defaults, sizes, strict=True):
            stream: Any = out.add_stream("libx264", rate=10)
            stream.height, stream.width, stream.pix_fmt = size, size, "yuv420p"
            stream.disposition = av.stream.Disposition.default if default else av.stream.Disposition(0)
            streams.append(stream)
        for number, stream in enumerate(streams):
            image = np.full((stream.height, stream.width, 3), 60 + 120 * number, np.uint8)
            for _ in range(5):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            out.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("defaults", "sizes", "chosen"),
    [
        ((False, True), (64, 32), 1),
        ((True, False), (32, 64), 0),
        ((False, False), (32, 64), 1),
        ((False, False), (64, 32), 0),
        ((True, True), (32, 64), 1),
        ((True, True), (32, 32), 0),
    ],
)
def test_the_default_stream_is_shown_or_else_the_largest(defaults, sizes, chosen):
    frames = decode(_two_streams(defaults, sizes), [0.2])
    assert (frames.info.height, frames.info.width) == (sizes[chosen], sizes[chosen])
    assert frames.images.mean() == pytest.approx(60 + 120 * chosen, abs=4)


def test_a_slanted_or_empty_matrix_is_taken_for_the_nearest():
    class Side:
        type = stream_properties.Type.DISPLAYMATRIX

        def __init__(self, *values: int):
            self._data = np.array(values, np.int32).tobytes()

        def __bytes__(self) -> bytes:
            return self._data

    class Frame:
        def __init__(self, *sides: Side):
            self.side_data = sides

    one = 1 << 16
    assert stream_properties.orientation(Frame()) == (0, False)
    assert stream_properties.orientation(Frame(Side(0, 0, 0, 0, 0, 0, 0, 0, 0))) == (0, False)
    assert stream_properties.orientation(Frame(Side(one, 9, 0, -9, one, 0, 0, 0, 1 << 30))) == (0, False)
    assert stream_properties.orientation(Frame(Side(9, one, 0, -one, 9, 0, 0, 0, 1 << 30))) == (270, False)


@pytest.mark.parametrize("matrix", MATRICES)
def test_facts_and_crops_of_every_orientation(matrix):
    video = make("mp4", matrix=matrix, images=pattern(3, 48, 64))
    info = probe(video)
    expected = MATRICES[matrix][1](decode(make("mp4", images=pattern(3, 48, 64)), [0.0]).images[0])
    assert (info.height, info.width) == expected.shape[:2]
    assert np.array_equal(decode(video, [0.0]).images[0], expected)


def _cover_art() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        sound: Any = out.add_stream("aac", rate=16_000, layout="mono")
        cover: Any = out.add_stream("mjpeg", rate=1)
        cover.height = cover.width = 32
        cover.pix_fmt, cover.disposition = "yuvj420p", av.stream.Disposition.attached_pic
        out.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        out.mux(cover.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    return buffer.getvalue()


def _encrypted() -> bytes:
    buffer = io.BytesIO()
    options = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "7" * 32, "encryption_kid": "a" * 32}
    source = encode(numbered_frames(8))
    with av.open(io.BytesIO(source)) as read, av.open(buffer, "w", format="mp4", options=options) as out:
        stream = out.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(read.streams.video[0]):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_cover_art, "has no video stream, only audio and cover art"),
        (_encrypted, "is encrypted"),
        (lambda: b"<!DOCTYPE html><html><body>Sign in", "the file is an HTML page, not a video"),
        (lambda: b'{"error": "not found"}', "the file is a JSON document, not a video"),
        (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "the file is a Git LFS pointer"),
        (lambda: b"RIFF\x64\0\0\0WEBPVP8X\x0a\0\0\0\x02" + bytes(99), "the file is an animated WebP image"),
    ],
)
def test_a_file_that_is_no_video_is_named_as_what_it_is(content, reason, tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content())
    for source in (path, path.read_bytes()):
        with pytest.raises(VideoError, match=f"^clip.mp4: .*{reason}"):
            decode(source, [0.0], name="clip.mp4")
