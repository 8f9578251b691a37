"""Tests of rejected microbatch setups; tests/parallel shows on eight devices that GradCache is exact."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.checkpoints.train_state import init_state, make_state_spec
from svilm_jax.config import ConfigError
from svilm_jax.objectives import build_objectives
from svilm_jax.parallel import make_mesh
from svilm_jax.training.accumulation import check_accumulation, make_gradient
from svilm_jax.training.optimizer import make_optimizer
from svilm_jax.training.step import check_batch
from tests.tiny import tiny_config

PARTS = {"train.microbatches": 4, "train.accumulation": "mean"}


def check(config, pieces=1):
    check_accumulation(config, build_objectives(config.objectives, config), pieces)


def classifier(**changes):
    head = {"task": "action_recognition", "model.head.classes": ("a", "b", "c"), "splice.enabled": False}
    config = tiny_config(**{**head, **changes})
    return dataclasses.replace(config, objectives={"classification": {}})


def test_a_batch_that_is_larger_than_the_split_is_refused_under_a_contrast(caplog):
    config = tiny_config(**{"train.batch_size": 32})
    contrast = build_objectives(config.objectives, config)
    with pytest.raises(
        ConfigError, match=r"batch_size=32 is larger than the split, 24 clips: .*global_contrast.*at most 24"
    ):
        check_batch(config, contrast, steps_per_epoch=24 / 32)
    check_batch(config, contrast, steps_per_epoch=1.0)
    check_batch(config, build_objectives(classifier().objectives, classifier()), steps_per_epoch=24 / 32)
    check_batch(tiny_config(**{"train.batch_size": 1}), contrast, steps_per_epoch=1.0)
    assert "has no negatives" in caplog.text


def test_a_mean_of_parts_is_refused_under_a_contrast():
    with pytest.raises(ConfigError, match=r"global_contrast, spatial_grounding.*the 2 of its own part.*gradcache"):
        check(tiny_config(**PARTS))
    check(classifier(**PARTS))
    check(tiny_config(**{"train.microbatches": 4}))


def test_a_mean_of_spliced_parts_is_refused():
    with pytest.raises(ConfigError, match=r"'mean' with config\.splice\.enabled=True: each part of 2 clips.*gradcache"):
        check(classifier(**PARTS, **{"splice.enabled": True}))
    check(classifier(**{"splice.enabled": True, "train.microbatches": 4}))


@pytest.mark.parametrize(("parts", "pieces"), [(3, 1), (4, 4), (0, 1)])
def test_parts_that_do_not_divide_the_rows_are_refused(parts, pieces):
    with pytest.raises(ConfigError, match=f"config.train.microbatches={parts}"):
        check(tiny_config(**{"train.microbatches": parts}), pieces)


def test_a_misspelt_kind_is_named():
    with pytest.raises(ConfigError, match="did you mean 'gradcache'"):
        check(tiny_config(**{"train.accumulation": "gradcach"}))


def test_the_mean_of_parts_is_the_mean_of_the_batch():
    """Where every row counts and stands for itself."""
    rng = np.random.default_rng(0)
    batch = {
        "video": jnp.asarray(rng.integers(0, 256, (8, 8, 16, 16, 3), np.uint8)),
        "target": jnp.asarray(rng.integers(0, 3, 8), jnp.int32),
        "valid": jnp.ones(8, bool),
        "index": jnp.arange(8),
    }
    found = []
    for changes in ({}, PARTS):
        config = classifier(**changes)
        optimizer, mesh = make_optimizer(config.optimizer, 6), make_mesh(config.mesh, jax.devices()[:1])
        structure = make_state_spec(config, 96, 0, optimizer, mesh)
        state = init_state(config, 96, optimizer, structure)
        gradient = jax.jit(make_gradient(config, structure, build_objectives(config.objectives, config)))
        metrics, slopes = gradient(state.params, batch, jax.random.key(1))
        found.append((float(metrics["loss/total"]), slopes))
    (one, whole), (other, parts) = found
    np.testing.assert_allclose(other, one, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(parts), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
