"""Tests of what a run takes from its checkpoint, of frozen parts, and of resuming."""

import dataclasses
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.checkpoints import load
from svilm_jax.checkpoints.train_state import TrainState, with_params
from svilm_jax.config import HeadConfig
from svilm_jax.models.parameters import parameters
from svilm_jax.parallel import make_mesh
from svilm_jax.training import loop
from svilm_jax.training.initialization import initial_params, resolve_init
from tests.tiny import tiny_config
from tests.training.initialization.runs import drawn, named, run, with_objectives

STILL = ("text_tower.", "video_tower.patch_embedding")


@pytest.fixture(scope="module")
def finetuned(moving_shapes, pretrained, tmp_path_factory):
    """(start, workdir) of four steps with two parts frozen, saved in the middle."""
    workdir = tmp_path_factory.mktemp("finetuned")
    changes = {
        "task": "action_recognition",
        "input.split": "actions_train",
        "splice.enabled": False,
        "init.checkpoint": str(pretrained),
        "init.freeze": STILL,
        "init.learning_rate_scale": 0.5,
        "optimizer.weight_decay": 0.5,
        "optimizer.learning_rate": 1e-2,
        "train.steps": 4,
        "train.checkpoint_every": 2,
    }
    start = resolve_init(with_objectives(tiny_config(moving_shapes, **changes), classification={}))
    run(start, workdir)
    return start, workdir


def test_model_and_tokenizer_are_those_of_the_checkpoint(finetuning, loaded):
    start = resolve_init(finetuning())
    assert dataclasses.replace(start.config.model, head=HeadConfig()) == loaded.config.model
    assert start.config.model.attention == "xla"
    assert start.tokenizer.files() == loaded.tokenizer.files()
    # How its vocabulary is read is told to the checkpoints of this run, too.
    assert start.tokenizer.lowercase is start.config.tokenizer.lowercase is False


def test_every_parameter_is_taken_over_and_the_head_is_fresh(finetuning, loaded):
    start = resolve_init(finetuning())
    fresh = drawn(start.config)
    got, before = named(initial_params(fresh, start.loaded, start.config)), named(parameters(loaded.model))
    expected = {name: value for name, value in named(fresh).items() if name.startswith("head.")}
    assert expected
    assert got.keys() - expected.keys() == before.keys()
    for name, value in (before | expected).items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_a_run_moves_what_is_not_frozen_and_nothing_else(finetuned, loaded):
    _, workdir = finetuned
    before, after = named(parameters(loaded.model)), named(parameters(load(workdir).model))
    still = {name for name in before if name.startswith(STILL)}
    assert len(still) > 10
    for name in still:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    # Weight decay moves every other matrix, and gradients what else leads to the scores.
    moving = {name for name in before if name.endswith(".kernel")} - still
    for name in moving | {"video_tower.time_position", "video_tower.token_norm.scale"}:
        assert np.any(after[name] != before[name]), name


def test_the_checkpoint_in_memory_outlives_the_run(finetuned, loaded):
    start, _ = finetuned
    before = named(parameters(loaded.model))
    for name, value in named(parameters(start.loaded.model)).items():
        np.testing.assert_array_equal(value, before[name])


def test_a_checkpoint_of_the_run_says_how_its_tokenizer_reads(finetuned):
    after = load(finetuned[1])
    assert after.tokenizer.lowercase is after.config.tokenizer.lowercase is False
    assert after.config.model.head.classes


def test_a_resumed_run_ends_in_the_same_bits(finetuned, tmp_path):
    start, workdir = finetuned
    again = tmp_path / "again"
    shutil.copytree(workdir / "checkpoints" / "2", again / "checkpoints" / "2")
    result = run(start, again)
    assert result.step == 4
    halfway, got = named(parameters(load(again / "checkpoints" / "2").model)), named(result.params)
    for name, value in named(parameters(load(workdir).model)).items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)
    assert np.any(halfway["head.out.kernel"] != got["head.out.kernel"])


@pytest.fixture
def old(pretrained, tmp_path):
    """The pre-training's first checkpoint, as a version wrote it that knew no heads, tasks or starts."""
    shutil.copytree(pretrained / "checkpoints" / "1", tmp_path / "old" / "checkpoints" / "1")
    file = tmp_path / "old" / "checkpoints" / "1" / "meta" / "metadata"
    meta = json.loads(file.read_text())
    del meta["fingerprint"]
    config = meta["config"]
    for table, keys in ((config, ("task", "init")), (config["model"], ("head", "localization"))):
        for key in keys:
            del table[key]
    for key in ("text", "num_sentences"):
        del config["input"][key]
    file.write_text(json.dumps(meta))
    return tmp_path / "old"


def test_a_checkpoint_from_before_these_keys_loads_and_goes_on(old, loaded):
    assert load(old).config == loaded.config
    result = loop.train(loaded.config, old, loaded.tokenizer, make_mesh(loaded.config.mesh))
    assert result.step == 2
    got = named(result.params)
    for name, value in named(parameters(loaded.model)).items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_averages_start_from_the_checkpoint_in_memory_of_their_own():
    zeros, taken = {"a": jnp.zeros(3)}, {"a": jnp.arange(3.0)}
    state = with_params(TrainState(jnp.zeros((), jnp.int32), zeros, (), zeros), taken)
    np.testing.assert_array_equal(state.params["a"], [0, 1, 2])
    np.testing.assert_array_equal(state.ema["a"], [0, 1, 2])
    assert state.params["a"].unsafe_buffer_pointer() != state.ema["a"].unsafe_buffer_pointer()
    assert with_params(TrainState(state.step, zeros, (), None), taken).ema is None
