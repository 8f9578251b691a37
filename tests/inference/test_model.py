"""Tests of a trained model: same results for files, bytes and arrays of any length, and errors for other inputs."""

import dataclasses

import jax
import numpy as np
import pytest

from svilm_jax.config import ConfigError
from svilm_jax.inference import TrainedModel
from svilm_jax.inference import encoder as encoder_module
from svilm_jax.inference.clip_input import read_clip
from svilm_jax.input.clips import load_clip
from svilm_jax.input.records import open_records
from svilm_jax.video.decoding import VideoError
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def trained():
    return tiny_model()


@pytest.fixture(scope="module")
def records(moving_shapes):
    return open_records(moving_shapes, "test")


@pytest.fixture(scope="module")
def files(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for number in range(3):
        (folder / f"{number}.mp4").write_bytes(records[number].video)
    return sorted(folder.iterdir())


def test_files_bytes_and_paths_are_one(trained, files):
    embedded = trained.embed_video(files)
    assert embedded.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(trained.embed_video([str(file) for file in files]), embedded)
    np.testing.assert_array_equal(trained.embed_video([file.read_bytes() for file in files]), embedded)
    np.testing.assert_allclose(trained.embed_video(files[1]), embedded[1:2], atol=1e-6)


def test_a_clip_is_what_evaluation_sees(trained, records):
    video = trained.config.model.video
    np.testing.assert_array_equal(read_clip(records[0].video, video), load_clip(records[0], video).frames)
    window = load_clip(records[0], video, 0.2, 0.6).frames
    np.testing.assert_array_equal(read_clip(records[0].video, video, 0.2, 0.6), window)


def test_what_is_not_understood_can_be_asked_for(trained, capsys):
    assert trained.review_text("a red xyzzy").unknown == ("xyzzy",)
    assert trained.review_text("red " * 50).read == 26
    assert trained.review_text("red " * 50, phrase=True).read < 12
    trained.embed_text("a red xyzzy \ud83d" + " red" * 50)
    assert capsys.readouterr() == ("", "")  # who embeds a million texts is not told of each


@pytest.mark.parametrize("frames", [1, 5, 8, 33])
def test_an_array_may_have_any_number_of_frames_of_any_size(trained, frames):
    clip = np.random.default_rng(0).integers(0, 256, (frames, 20, 36, 3), np.uint8)
    seen = read_clip(clip, trained.config.model.video)
    assert seen.shape == (8, 16, 16, 3)
    assert trained.embed_video(clip).shape == (1, 16)
    if frames == 8:  # each as it is
        np.testing.assert_array_equal(read_clip(clip[::-1], trained.config.model.video), seen[::-1])


@pytest.mark.parametrize(
    "video", [np.zeros((4, 16, 16), np.uint8), np.zeros((4, 16, 16, 3), np.float32), np.zeros((0, 16, 16, 3), np.uint8)]
)
def test_other_arrays_are_refused_by_their_shape(trained, video):
    with pytest.raises(ValueError, match=r"expected uint8 \[T, height, width, 3\]"):
        trained.embed_video([video])


def test_what_is_no_video_is_refused_by_name(trained, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    with pytest.raises(VideoError, match=r"bad\.mp4"):
        trained.embed_video([bad])
    with pytest.raises(VideoError, match="no such file"):
        trained.embed_video(tmp_path / "none.mp4")
    with pytest.raises(ValueError, match="not int"):
        trained.embed_video([3])


def test_nothing_gives_nothing(trained):
    assert trained.embed_video([]).shape == (0, 16)
    assert trained.embed_text([]).shape == (0, 16)


def test_one_program_a_power_of_two(files):
    model = tiny_model(**{"model.embed_dim": 24})  # of its own: nothing of it is compiled yet
    clip = np.zeros((8, 16, 16, 3), np.uint8)
    with jax.log_compiles(False):
        before = encoder_module._read_videos._cache_size()
        for count in (1, 2, 3, 4, 3, 16, 17, 20):
            assert model.embed_video([clip] * count).shape == (count, 24)
        assert encoder_module._read_videos._cache_size() == before + 4  # 1, 2, 4, 16


def test_ground_gives_a_map_of_every_frame(trained, files):
    found = trained.ground(files[0], "a red square")
    assert found.frames.shape == (8, 16, 16, 3)
    assert found.heat.shape == found.mass.shape == (4, 2, 2)
    maps = found.per_frame()
    assert maps.shape == (8, 16, 16)
    assert (maps.min(), maps.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(maps[0], maps[1])  # a tubelet
    assert -1 <= found.similarity <= 1
    strongest = np.unravel_index(found.heat.argmax(), found.heat.shape)
    assert maps[2 * strongest[0], 8 * strongest[1], 8 * strongest[2]] == 1.0


def test_ground_reads_the_block_that_was_chosen(trained, files):
    first = trained.ground(files[0], "a red square")
    np.testing.assert_array_equal(trained.ground(files[0], "a red square", block=1).heat, first.heat)
    last = trained.ground(files[0], "a red square", block=0)
    assert not np.array_equal(last.heat, first.heat)
    np.testing.assert_array_equal(
        dataclasses.replace(trained, grounding_block=0).ground(files[0], "a red square").heat, last.heat
    )
    with pytest.raises(ConfigError, match="block=5"):
        trained.ground(files[0], "a red square", block=5)


def test_a_localizer_has_no_towers(trained):
    config = dataclasses.replace(trained.config, task="localization")
    with pytest.raises(ConfigError, match="has no towers"):
        TrainedModel(trained.model, config, trained.tokenizer, 0).embed_text("a")
