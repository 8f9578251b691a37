"""Schedule, decay mask and update rules against arithmetic by hand."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from svilm_jax.config import ConfigError, OptimizerConfig
from svilm_jax.models.parameters import abstract_model
from svilm_jax.training.optimizer import decay_mask, make_optimizer, make_schedule
from tests.tiny import tiny_config


def test_schedule_warms_up_linearly_and_falls_as_a_cosine():
    schedule = make_schedule(OptimizerConfig(learning_rate=2.0, warmup_share=0.1, end_share=0.1), 100)
    assert float(schedule(0)) == 0
    assert float(schedule(5)) == pytest.approx(1.0)
    assert float(schedule(10)) == pytest.approx(2.0)
    assert float(schedule(55)) == pytest.approx(2 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 45 / 90))))
    assert float(schedule(100)) == pytest.approx(0.2)


def test_every_parameter_is_decayed_or_not_for_a_reason():
    import jax

    _, abstract = abstract_model(tiny_config(), 50)
    mask = decay_mask(nnx.to_pure_dict(abstract))
    rows = {
        jax.tree_util.keystr(p, simple=True, separator="."): v for p, v in jax.tree_util.tree_leaves_with_path(mask)
    }
    assert all(decays == name.endswith(".kernel") for name, decays in rows.items()), rows


def test_sgd_with_momentum_and_decoupled_decay():
    config = OptimizerConfig(name="sgd", learning_rate=0.5, momentum=0.9, weight_decay=0.1, clip_norm=0, warmup_share=0)
    optimizer = make_optimizer(config, 10)
    params = {"kernel": jnp.array([2.0]), "bias": jnp.array([2.0])}
    state = optimizer.init(params)
    gradients = {"kernel": jnp.array([1.0]), "bias": jnp.array([1.0])}
    updates, state = optimizer.update(gradients, state, params)
    np.testing.assert_allclose(updates["kernel"], -0.5 * (1.0 + 0.1 * 2.0), rtol=1e-6)
    np.testing.assert_allclose(updates["bias"], -0.5 * 1.0, rtol=1e-6)
    rate = 0.5 * 0.5 * (1 + math.cos(math.pi * 1 / 10))
    updates, _ = optimizer.update(gradients, state, params)
    np.testing.assert_allclose(updates["bias"], -rate * 1.9, rtol=1e-6)


def test_gradients_are_clipped_by_their_global_norm():
    config = OptimizerConfig(name="sgd", learning_rate=1.0, momentum=0, weight_decay=0, clip_norm=1.0, warmup_share=0)
    optimizer = make_optimizer(config, 10)
    params = {"a": jnp.array([0.0]), "b": jnp.array([0.0])}
    updates, _ = optimizer.update({"a": jnp.array([3.0]), "b": jnp.array([4.0])}, optimizer.init(params), params)
    np.testing.assert_allclose([updates["a"][0], updates["b"][0]], [-0.6, -0.8], rtol=1e-5)


def test_an_unknown_optimizer_is_named():
    with pytest.raises(ConfigError, match="did you mean 'adamw'"):
        make_optimizer(OptimizerConfig(name="adam"), 10)
