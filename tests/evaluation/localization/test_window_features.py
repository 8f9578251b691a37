"""Tests of window features: equal to those of windows cut by hand, written once, and never from mixed sources."""

import json

import numpy as np
import pytest

from svilm_jax.config import ConfigError
from svilm_jax.evaluation.clips import EvaluationError
from svilm_jax.evaluation.localization.window_features import Windows, extract_features
from svilm_jax.inference.encoder import Encoder
from svilm_jax.input.clips import load_clip
from svilm_jax.input.features import read_features, read_index
from svilm_jax.input.records import open_records
from svilm_jax.input.schema import Action, Record
from tests.evaluation import colored_squares as world

LABELS = ("spin", "rest")


def half(name):
    """Half a minute of which the header is whole and the second half is noise: early windows decode, late ones not."""
    video = long(name, *[(color, 20) for color in ("red", "blue", "green", "yellow")] * 3).video
    start, end = video.index(b"mdat") + 4, video.index(b"moov") - 4
    middle = (start + end) // 2
    return Record(id=name, video=video[:middle] + bytes(end - middle) + video[end:])


def long(name, *scenes, actions=()):
    record = world.untrimmed(name, *scenes, cuts=())
    return Record(id=name, video=record.video, actions=tuple(Action(*action) for action in actions))


SPLITS = {
    "films": [
        long("a/b", ("red", 12), ("blue", 8), ("green", 16), actions=(("spin", 0.0, 1.5), ("rest", 1.5, 2.5))),
        Record(id="headless", video=b"no video"),
        long("short", ("yellow", 4)),  # half a second
        long("last", ("green", 9), ("yellow", 10), actions=(("rest", -1.0, -1.0),)),
    ],
    "damaged": [long("whole", ("red", 4)), half("half"), long("other", ("blue", 4))],
    "headless": [Record(id="x", video=b"no video")],
}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return world.write_dataset(tmp_path_factory.mktemp("films"), SPLITS)


class Counting(Encoder):
    """Counts the windows that it is given."""

    seen = 0

    def videos(self, clips, read):
        def counted():
            for clip in clips:
                self.seen += 1
                yield clip

        return super().videos(counted(), read)


@pytest.fixture
def reader(films, squares_tokenizer):
    return Counting(world.ColorReader(), world.make_config(films), squares_tokenizer, batch_size=4)


def embed(reader, out, *windows, split="films", origin="tower step 3", pool="clip"):
    return extract_features(reader, reader.config.input.dataset, split, LABELS, Windows(*windows), out, origin, pool)


def by_hand(reader, record, spans):
    clips = np.stack([load_clip(record, reader.config.model.video, *span).frames for span in spans])
    return np.asarray(world.ColorReader().encode_video(clips).tokens).mean(axis=(1, 2))


@pytest.mark.parametrize(
    ("windows", "spans"),
    [
        # Videos of 4.5 s, 0.5 s and 2.375 s: every window that starts inside, the last ones cut at the end.
        ((1.0, 2.0), [[(0, 1), (2, 3), (4, 5)], [(0, 1)], [(0, 1), (2, 3)]]),
        ((2.0, 1.5, 0.25), [[(0.25, 2.25), (1.75, 3.75), (3.25, 5.25)], [(0.25, 2.25)], [(0.25, 2.25), (1.75, 3.75)]]),
        # Longer than any of them, starting after the end of one.
        ((60.0, 5.0, 1.0), [[(1, 61)], [(1, 61)], [(1, 61)]]),
    ],
)
def test_features_are_those_of_windows_cut_by_hand(reader, films, tmp_path, windows, spans):
    index = embed(reader, tmp_path, *windows)
    assert index == read_index(tmp_path)
    assert [video.id for video in index.videos] == ["a/b", "short", "last"]
    assert [video.duration for video in index.videos] == pytest.approx([4.5, 0.5, 2.375])
    assert (index.window, index.stride, index.offset, index.labels) == (*windows, *(0.0,) * (3 - len(windows)), LABELS)
    records = {record.id: record for record in open_records(films, "films")}
    for video, expected in zip(index.videos, spans, strict=True):
        features = read_features(tmp_path, index, video)
        np.testing.assert_allclose(features, by_hand(reader, records[video.id], expected), rtol=1e-4, atol=1e-5)
        assert video.actions == records[video.id].actions
    assert reader.seen == sum(map(len, spans))


def test_windows_of_one_video_differ(reader, tmp_path):
    """Or the comparison above would say little."""
    index = embed(reader, tmp_path, 1.0, 2.0)
    features = read_features(tmp_path, index, index.videos[0])
    assert np.abs(features[0] - features[1]).max() > 0.1


def test_windows_with_fewer_frames_than_the_tower_reads_are_named(reader, tmp_path, caplog):
    """The videos have 8 frames a second, and the tower reads 16."""
    embed(reader, tmp_path / "long", 2.0, 2.0)
    assert "frames repeat" not in caplog.text
    embed(reader, tmp_path / "short", 1.5, 2.0)
    assert "films: in 3 of 3 videos a window of 1.5 s has fewer than the 16 frames" in caplog.text
    assert "(at 8 fps, 12), so that frames repeat: take a --window of at least 2 s" in caplog.text


def test_a_video_without_a_header_is_left_out_and_named(reader, tmp_path, caplog):
    embed(reader, tmp_path, 1.0, 2.0)
    assert "headless left out" in caplog.text
    assert len(list(tmp_path.glob("*.npy"))) == 3


def test_a_video_of_which_one_window_does_not_decode_is_left_out_and_named(reader, tmp_path, caplog):
    index = embed(reader, tmp_path, 1.0, 5.0, split="damaged")
    assert [video.id for video in index.videos] == ["whole", "other"]
    assert sorted(path.name for path in tmp_path.glob("*.npy")) == ["v_other.npy", "v_whole.npy"]
    assert reader.seen > 3  # the first windows of the damaged one
    assert caplog.text.count("half left out") == 1


def test_a_second_run_computes_what_is_missing_and_no_more(reader, tmp_path):
    first = embed(reader, tmp_path, 1.0, 1.0)
    written = {video.file: (tmp_path / video.file).read_bytes() for video in first.videos}
    (tmp_path / first.videos[2].file).unlink()
    (tmp_path / "features.json").unlink()  # as if stopped before the end
    others = {video.file: (tmp_path / video.file).stat().st_mtime_ns for video in first.videos[:2]}
    reader.seen = 0
    assert embed(reader, tmp_path, 1.0, 1.0) == first
    assert reader.seen == 3  # of the last video, of 2.375 s
    assert {video.file: (tmp_path / video.file).read_bytes() for video in first.videos} == written
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in others} == others
    reader.seen = 0
    assert embed(reader, tmp_path, 1.0, 1.0) == first
    assert reader.seen == 0


class Stops(Counting):
    """Is interrupted in the second video."""

    def videos(self, clips, read):
        for number, reading in enumerate(super().videos(clips, read)):
            if number == 6:
                raise KeyboardInterrupt
            yield reading


def test_a_run_that_was_stopped_leaves_whole_videos_only(films, squares_tokenizer, reader, tmp_path):
    stops = Stops(world.ColorReader(), world.make_config(films), squares_tokenizer, batch_size=1)
    with pytest.raises(KeyboardInterrupt):
        embed(stops, tmp_path, 1.0, 1.0)
    assert not (tmp_path / "features.json").exists()
    assert sorted(path.name for path in tmp_path.glob("*.npy")) == ["v_a%2Fb.npy", "v_short.npy"]
    embed(reader, tmp_path, 1.0, 1.0)
    assert reader.seen == 3
    assert [len(read_features(tmp_path, read_index(tmp_path), v)) for v in read_index(tmp_path).videos] == [5, 1, 3]


def test_a_window_pooled_by_time_has_its_time_indices_side_by_side(reader, films, tmp_path):
    index = embed(reader, tmp_path, 1.0, 2.0, pool="time")
    record = next(r for r in open_records(films, "films") if r.id == index.videos[0].id)
    clips = np.stack([load_clip(record, reader.config.model.video, s, s + 1.0).frames for s in (0.0, 2.0, 4.0)])
    expected = np.asarray(world.ColorReader().encode_video(clips).tokens).mean(axis=2).reshape(3, -1)
    found = read_features(tmp_path, index, index.videos[0])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert index.width == expected.shape[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"origin": "tower step 4"}, "parameters was 'tower step 3', is 'tower step 4'"),
        ({"windows": (1.0, 2.0)}, r"windows was \[1.0, 1.0, 0.0\], is \[1.0, 2.0, 0.0\]"),
        ({"pool": "time"}, "pool was 'clip', is 'time'"),
        ({"split": "headless"}, "split was 'films', is 'headless'"),
    ],
)
def test_features_of_another_origin_are_not_mixed_in(reader, tmp_path, changes, message):
    embed(reader, tmp_path, 1.0, 1.0)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    reader.seen = 0
    windows = changes.pop("windows", (1.0, 1.0))
    with pytest.raises(EvaluationError, match=f"has features of another source .*{message}.*give another --out"):
        embed(reader, tmp_path, *windows, **changes)
    assert reader.seen == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_split_of_which_nothing_decodes_writes_no_index(reader, tmp_path):
    with pytest.raises(EvaluationError, match="'headless': no decodable video"):
        embed(reader, tmp_path, 1.0, 1.0, split="headless")
    assert not (tmp_path / "features.json").exists()


@pytest.mark.parametrize("windows", [(0.0, 1.0), (1.0, 0.0), (1.0, 1.0, -0.5), (float("nan"), 1.0)])
def test_impossible_windows_are_refused(windows):
    with pytest.raises(ConfigError, match="a length and a stride above 0"):
        Windows(*windows)


def test_the_index_says_where_features_come_from(reader, tmp_path):
    embed(reader, tmp_path, 1.0, 1.0)
    origin = json.loads((tmp_path / "features.json").read_text())["origin"]
    assert origin["parameters"] == "tower step 3"
    assert origin["split"] == "films"
