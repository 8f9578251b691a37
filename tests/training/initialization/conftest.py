"""Fixtures of runs that start from a checkpoint: one pre-training for all tests of this folder."""

import dataclasses
import json

import jax
import pytest

from svilm_jax.checkpoints import load
from svilm_jax.training import loop
from svilm_jax.training import step as steps
from svilm_jax.training.initialization import resolve_init
from tests.tiny import tiny_config
from tests.training.initialization.runs import run, with_objectives

# Neither is what tests/tiny.py says: what a run takes from the checkpoint shows.
SMALL = {"model.video.num_layers": 1, "model.grouping.after_layers": (1,), "model.attention": "xla"}
PRETRAINING = {"train.steps": 2, "train.checkpoint_every": 1, "splice.enabled": False, "tokenizer.lowercase": False}


@pytest.fixture(scope="package", autouse=True)
def compiled_once():
    """Runs of one config share their step, compiled in haste: that is nearly all the time a tiny run takes."""
    made = {}

    def make_step(config, *rest):
        key = json.dumps(dataclasses.asdict(config), sort_keys=True)
        if key not in made:
            made[key] = steps.make_step(config, *rest)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_step", make_step)
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="package")
def pretrained(moving_shapes, tmp_path_factory):
    """The workdir of two steps on captions."""
    workdir = tmp_path_factory.mktemp("pretrained")
    config = with_objectives(tiny_config(moving_shapes, **SMALL, **PRETRAINING), global_contrast={})
    run(resolve_init(config), workdir)
    return workdir


@pytest.fixture(scope="package")
def loaded(pretrained):
    return load(pretrained)


@pytest.fixture
def finetuning(moving_shapes, pretrained):
    """Changes -> a config that names actions, from the checkpoint."""

    def config(model=None, **changes):
        fields = {"task": "action_recognition", "splice.enabled": False, **changes}
        config = with_objectives(tiny_config(moving_shapes, **fields), classification={})
        init = dataclasses.replace(config.init, checkpoint=str(pretrained), model=model or {})
        return dataclasses.replace(config, init=init)

    return config
