"""Tests of the structure of media files from their bytes: truncated files, and several videos in one file."""

import io

import av
import numpy as np
import pytest

from svilm_jax.video.decoding import VideoError, decode, probe
from svilm_jax.video.file_structure import UNKNOWN, examine
from tests.video.encoded_videos import encode, numbered_frames

STATING = [
    ("matroska", "libx264"),
    ("webm", "libvpx"),
    ("avi", "mpeg4"),
    ("flv", "flv"),
    ("asf", "wmv2"),
    ("ivf", "libvpx"),
    ("mxf", "mpeg2video"),
]


def structure(video):
    return examine(io.BytesIO(video), len(video))


def packet_places(video):
    with av.open(io.BytesIO(video)) as container:
        return [packet.pos for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize(("container", "codec"), STATING)
def test_a_file_that_is_cut_short_is_found_out(container, codec):
    noise = np.random.default_rng(0).integers(0, 255, (25, 48, 64, 3), np.uint8)
    video = encode(noise, container=container, codec=codec, fps=25)
    assert structure(video).truncated is False
    assert structure(video[: len(video) * 9 // 10]).truncated is True
    assert probe(video).missing == 0
    short = video[: packet_places(video)[13] + 20]
    cut = probe(short)
    assert cut.missing == pytest.approx(0.5, abs=0.15)
    assert cut.duration == pytest.approx(1.0, abs=0.1)
    with pytest.raises(VideoError, match="truncated"):
        decode(short, [0.95])


@pytest.mark.parametrize("container", ["mp4", "mov", "3gp"])
@pytest.mark.parametrize(("lost", "reason"), [(1, "ends inside its index"), (0.5, "its index .* is missing")])
def test_mp4_without_a_whole_index_is_called_truncated(container, lost, reason):
    """FFmpeg reads what is there of an index and shows fewer frames, or says that there is no stream."""
    video = encode(numbered_frames(25), container=container)
    short = video[: int(len(video) * lost)] if lost < 1 else video[:-lost]
    with pytest.raises(VideoError, match=f"truncated.*{reason}"):
        probe(short)


@pytest.mark.parametrize("flags", ["", "frag_keyframe+empty_moov", "frag_keyframe+default_base_moof"])
def test_mp4_of_every_layout_is_whole(flags):
    video = encode(numbered_frames(25), flags={"movflags": flags} if flags else None)
    assert structure(video) == UNKNOWN
    assert len(decode(video, None).images) == 25


@pytest.mark.parametrize(
    ("container", "codec"), [("mp4", "libx264"), ("mov", "libx264"), *STATING[3:], ("apng", "apng")]
)
def test_films_behind_a_film_are_refused_where_only_the_first_is_read(container, codec):
    pixels = {"pix_fmt": "rgb24"} if codec == "apng" else {}
    video = encode(numbered_frames(10), container=container, codec=codec, fps=25, **pixels)
    assert not structure(video).fault
    with pytest.raises(VideoError, match="several concatenated videos"):
        probe(video + video)


def test_flv_that_ends_between_two_tags_is_compared_with_its_stated_size():
    video = encode(numbered_frames(25), container="flv", codec="flv", fps=25)
    short = video[: packet_places(video)[13]]
    assert structure(short).truncated is True
    assert structure(short.replace(b"filesize", b"fileless")).truncated is False


def test_a_picture_in_boxes_needs_no_index():
    boxes = b"\0\0\0\x0cftypavif" + b"\0\0\0\x0cmeta\0\0\0\0" + b"\0\0\0\x0cmdat\0\0\0\0"
    assert not structure(boxes).fault
    assert "missing" in structure(boxes.replace(b"meta", b"free")).fault


def test_a_streamed_file_states_no_length():
    video = encode(numbered_frames(5), container="matroska", flags={"live": "1"})
    assert structure(video[: len(video) // 2]).truncated is None
    for content in (b"", b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\x00", b"RIFF", b"RIFF\0\0\0\0AVI "):
        assert structure(content).truncated is None


@pytest.mark.parametrize("start", [b"FLV\x01", b"DKIF\0\0\x20\0", b"\0\0\0\x08ftyp", b"\0\0\0\1mdat", b"\0\0\0\0moov"])
def test_rubbish_behind_a_known_start_is_no_crash(start):
    noise = np.random.default_rng(0).bytes(3000)
    for size in (0, 1, 3, 7, 30, 3000):
        structure(start + noise[:size])
        structure(start + bytes(size))


@pytest.mark.parametrize(("container", "codec", "sound"), [("flv", "flv", "libmp3lame"), ("asf", "wmv2", "wmav2")])
def test_sound_that_goes_on_after_the_pictures_is_no_truncation(container, codec, sound):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        audio = out.add_stream(sound, rate=44100, layout="mono")
        audio.bit_rate = 64_000
        for image in numbered_frames(25):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        out.mux(stream.encode())
        resampler = av.AudioResampler(format=audio.format.name, layout="mono", rate=44100)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 3 * 44100), np.int16), format="s16", layout="mono")
        silence.sample_rate = 44100
        fifo = av.AudioFifo()
        for piece in resampler.resample(silence):
            fifo.write(piece)
        while piece := fifo.read(audio.codec_context.frame_size or 1024, partial=True):
            out.mux(audio.encode(piece))
        out.mux(audio.encode())
    info = probe(buffer.getvalue())
    assert (info.duration, info.missing) == (pytest.approx(1.0, abs=0.05), 0)


def test_a_cut_file_with_one_picture_left_is_found_out():
    """FFmpeg gives no start time for it, as for elementary streams."""
    video = encode(numbered_frames(4), container="matroska", fps=1, options={"bf": "0"})
    assert probe(video[: packet_places(video)[1]]).missing == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("container", ["asf", "mxf", "avi"])
def test_times_of_decoding_are_not_taken_for_those_of_pictures(container):
    video = encode(numbered_frames(20), container=container, fps=25, options={"bf": "2"})
    np.testing.assert_allclose(decode(video, None).times, np.arange(20) / 25, atol=2e-3)
