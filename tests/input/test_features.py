"""Tests of window features on disk: round trip, correct times, and specific errors."""

import dataclasses
import json

import numpy as np
import pytest

from svilm_jax.config import LocalizationConfig
from svilm_jax.input.batch_stream import InputError
from svilm_jax.input.features import (
    FeatureError,
    FeatureIndex,
    FeatureInput,
    VideoFeatures,
    file_name,
    read_features,
    read_index,
    resized,
    window_starts,
    write_index,
)
from svilm_jax.input.schema import Action
from svilm_jax.input.segments import localization_targets

VIDEOS = (
    VideoFeatures("one", file_name("one"), 10.0, (Action("run", 2.0, 5.0), Action("sit", 4.0, 9.5))),
    VideoFeatures("none", file_name("none"), 3.0),
    VideoFeatures("../two/ü", file_name("../two/ü"), 7.3, (Action("sit"), Action("rare", 1.0, 2.0))),
    VideoFeatures("rare", file_name("rare"), 4.0, (Action("rare", 1.0, 2.0),)),
    VideoFeatures("short", file_name("short"), 0.5, (Action("run", 0.0, 0.25),)),
)
INDEX = FeatureIndex(2.0, 1.0, 0.25, 6, ("run", "sit"), VIDEOS, {"checkpoint": "runs/a", "step": 3})
CONFIG = {"feature_dim": 6, "num_steps": 8}


@pytest.fixture
def folder(tmp_path):
    """Features of windows of two seconds, one a second from 0.25 s on."""
    write_index(tmp_path, INDEX)
    rng = np.random.default_rng(0)
    for video in VIDEOS:
        count = len(window_starts(video.duration, INDEX.stride, INDEX.offset))
        np.save(tmp_path / video.file, rng.normal(size=(count, 6)).astype(np.float32))
    return tmp_path


def make(folder, classes=("run", "sit"), **options):
    share = {"batch_size": 3, "seed": 0} | options
    return FeatureInput(LocalizationConfig(features=str(folder), **CONFIG), classes, **share)


def test_an_index_is_read_as_it_was_written(tmp_path):
    write_index(tmp_path, INDEX)
    assert read_index(tmp_path) == read_index(str(tmp_path)) == INDEX
    write_index(tmp_path, dataclasses.replace(INDEX, videos=()))
    assert read_index(tmp_path).videos == ()
    assert [path.name for path in tmp_path.iterdir()] == ["features.json"]


def test_a_file_name_stays_in_the_folder_and_names_one_video(tmp_path):
    ids = ("a", "../a", "/a", "..", ".", "a/b", "a%2Fb", "ü", "a\\b", "a b", "C:a")
    paths = [(tmp_path / file_name(name)).resolve() for name in ids]
    assert {path.parent for path in paths} == {tmp_path.resolve()}
    assert len({path.name.lower() for path in paths}) == len(ids)


@pytest.mark.parametrize(
    ("duration", "starts"), [(4.25, [0.25, 1.25, 2.25, 3.25]), (4.3, [0.25, 1.25, 2.25, 3.25, 4.25]), (0.1, [0.25])]
)
def test_windows_start_while_there_is_video(duration, starts):
    np.testing.assert_allclose(window_starts(duration, 1.0, 0.25), starts)


def test_a_rounded_duration_makes_no_window_more():
    assert len(window_starts(0.1 * 3, 0.1, 0.0)) == 3


@pytest.mark.parametrize("video", VIDEOS, ids=lambda video: file_name(video.id))
def test_resizing_is_interpolation_between_the_middles_of_windows(folder, video):
    features = np.load(folder / video.file)
    middles = []
    for k in range(len(features)):
        start = 0.25 + k
        middles.append((start + max(start, min(start + 2.0, video.duration))) / 2)
    wanted = (np.arange(8) + 0.5) * video.duration / 8
    expected = np.stack([np.interp(wanted, middles, column) for column in features.T], axis=1)
    made = resized(folder, INDEX, video, 8)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_batch_contract(folder):
    with make(folder) as data:
        batch = next(data)
        assert (data.num_records, data.steps_per_epoch, data.failures) == (3, 1.0, {})
    expected = {
        "features": ((3, 8, 6), np.float32),
        "start": ((3, 8), np.float32),
        "end": ((3, 8), np.float32),
        "iou": ((3, 8, 8), np.float32),
        "step_class": ((3, 8), np.int32),
        "valid": ((3,), np.bool_),
        "index": ((3,), np.int64),
    }
    assert {name: (array.shape, array.dtype.type) for name, array in batch.items()} == expected
    assert batch["valid"].all()


def test_rows_are_of_the_videos_with_a_known_label(folder):
    with make(folder) as data:
        batch = next(data)
    one, two, short = (VIDEOS[0], VIDEOS[2], VIDEOS[4])
    wanted = {  # an action without times holds for the whole video
        0: (one, [(2.0, 5.0), (4.0, 9.5)], [0, 1]),
        1: (two, [(0.0, 7.3)], [1]),
        2: (short, [(0.0, 0.25)], [0]),
    }
    assert sorted(batch["index"]) == [0, 1, 2]
    for row, number in enumerate(batch["index"].tolist()):
        video, segments, labels = wanted[number]
        np.testing.assert_array_equal(batch["features"][row], resized(folder, INDEX, video, 8))
        for name, array in localization_targets(np.array(segments), np.array(labels), video.duration, 8).items():
            np.testing.assert_array_equal(batch[name][row], array)


def test_a_resumed_run_goes_on_and_another_one_is_refused(folder):
    with make(folder) as data:
        batches = [next(data) for _ in range(4)]
        saved = json.loads(json.dumps(data.state()))
    assert saved["step"] == 4
    assert len(json.dumps(saved)) < 200  # whatever the number of videos
    with make(folder, start_step=2) as data:
        data.check_state(saved)
        for expected in batches[2:]:
            batch = next(data)
            assert all(np.array_equal(batch[name], expected[name]) for name in expected)
    with make(folder, start_step=4, seed=1) as data, pytest.raises(InputError, match="cannot resume: seed was 0"):
        data.check_state(saved)
    with make(folder, classes=("run", "sit", "rare")) as data, pytest.raises(InputError, match="dataset was"):
        data.check_state(saved)


def test_no_video_to_learn_from(folder):
    with pytest.raises(FeatureError, match="no video with a labeled segment among the 5"):
        make(folder, classes=("other",))


def edited(**changes):
    return {"format": 1, **dataclasses.asdict(INDEX), **changes}


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        "3",
        {},
        edited(format=2),
        edited(videos=[{"id": "a"}]),
        edited(videos=[{"id": "a", "file": "b", "duration": "long", "actions": []}]),
        edited(videos=[{"id": "a", "file": "b", "duration": 1, "actions": [{"name": "run"}]}]),
        edited(videos=[{"id": "a", "file": "b", "duration": 0, "actions": []}]),
        edited(stride=0),
        edited(window="two"),
        edited(unknown=1),
        {name: value for name, value in edited().items() if name != "stride"},
        b"\xff\xfe",
    ],
    ids=lambda document: str(document)[:40],
)
def test_an_index_that_does_not_fit_is_named(tmp_path, document):
    path = tmp_path / "features.json"
    content = document if isinstance(document, str | bytes) else json.dumps(document)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(FeatureError, match=r"features\.json: cannot be read .*; write the features again"):
        read_index(tmp_path)


def test_no_index(tmp_path):
    with pytest.raises(
        FeatureError, match=r"features\.json: no such file; expected a folder that `svilm extract-features` wrote"
    ):
        read_index(tmp_path)
    with pytest.raises(FeatureError, match="no features given: set config.model.localization.features"):
        read_index("")


def test_a_file_that_leads_out_of_the_folder_is_not_read(folder):
    (folder / "inner" / "sub").mkdir(parents=True)
    (folder / "inner" / "sub" / "v_one.npy").write_bytes((folder / "v_one.npy").read_bytes())
    for name in ("../v_one.npy", str(folder / "v_one.npy"), "sub/v_one.npy"):
        with pytest.raises(FeatureError, match=rf"features\.json: file '{name}' of one leads out of the folder"):
            read_features(folder / "inner", INDEX, dataclasses.replace(VIDEOS[0], file=name))
    for name in ("..", ".", ""):
        with pytest.raises(FeatureError, match=r"cannot be read|leads out"):
            read_features(folder / "inner", INDEX, dataclasses.replace(VIDEOS[0], file=name))


def damage(path, how):
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "cut":
        path.write_bytes(content[:-5])
    elif how == "other":
        path.write_bytes(b"no array at all")
    elif how == "archive":
        with path.open("wb") as file:
            np.savez(file, a=np.zeros((3, 6), np.float32))
    else:
        arrays = {
            "objects": np.array([[None] * 6]),
            "words": np.array([["a"] * 6]),
            "wide": np.zeros((3, 7), np.float32),
            "flat": np.zeros(6, np.float32),
            "no rows": np.zeros((0, 6), np.float32),
            "infinite": np.array([[0, 1, np.inf, 0, 0, 0]], np.float32),
        }
        np.save(path, arrays[how], allow_pickle=True)


@pytest.mark.parametrize(
    ("how", "message"),
    [(how, r"cannot be read \(.*; write the features again") for how in ("missing", "empty", "cut", "other", "archive")]
    + [("objects", "cannot be read")]
    + [(how, r"expected finite numbers \[windows, 6\]") for how in ("words", "wide", "flat", "no rows", "infinite")],
)
def test_damaged_features_are_named(folder, how, message):
    damage(folder / "v_one.npy", how)
    with pytest.raises(FeatureError, match=rf"v_one\.npy: .*{message}"):
        read_features(folder, INDEX, VIDEOS[0])
    with make(folder) as data, pytest.raises(FeatureError, match=r"v_one\.npy"):
        next(data)


def test_features_of_other_models_may_be_halves_or_doubles(folder):
    values = np.arange(12).reshape(2, 6)
    for kind in (np.float16, np.float64):
        np.save(folder / "v_one.npy", values.astype(kind))
        made = read_features(folder, INDEX, VIDEOS[0])
        assert made.dtype == np.float32
        np.testing.assert_array_equal(made, values)
