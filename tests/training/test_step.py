"""Tests of the update of a train step: parameters stay within the bounds that their module declares."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.checkpoints.train_state import make_state_spec
from svilm_jax.models.parameters import bind
from svilm_jax.parallel import make_mesh
from svilm_jax.training import step as step_module
from svilm_jax.training.optimizer import make_optimizer
from svilm_jax.training.step import make_step
from tests.tiny import tiny_config

INITIAL = math.log(1 / 0.07)
PLAIN = {"name": "sgd", "momentum": 0.0, "clip_norm": 0.0, "warmup_fraction": 0.0, "weight_decay": 0.0}


@pytest.fixture
def steps(monkeypatch):
    """Returns a function that takes one step along the gradient of `direction` · log(logit scale), without towers."""
    changes = {f"optimizer.{key}": value for key, value in PLAIN.items()}
    config = tiny_config(**changes, **{"optimizer.learning_rate": 10.0, "optimizer.ema_decay": 0.5})

    def gradient_of(config, structure, objectives):
        def loss(params, batch):
            return batch["direction"] * jnp.log(bind(structure.graphdef, structure.abstract, params).logit_scale)

        return lambda params, batch, key: ({"loss/total": loss(params, batch)}, jax.grad(loss)(params, batch))

    monkeypatch.setattr(step_module, "make_gradient", gradient_of)
    optimizer = make_optimizer(config.optimizer, 1000)
    structure = make_state_spec(config, 96, 0, optimizer, make_mesh(config.mesh, jax.devices()[:1]))
    step = make_step(config, structure, {}, optimizer, lambda count: 10.0)
    state = jax.tree.map(
        lambda shape, sharding: jax.device_put(np.zeros(shape.shape, shape.dtype), sharding),
        structure.shapes,
        structure.shardings,
    )
    for params in (state.params, state.ema):
        params["log_scale"] = jnp.float32(INITIAL)

    def take(direction):
        nonlocal state
        state, _ = step(state, {"direction": jnp.float32(direction)})
        return float(state.params["log_scale"]), float(state.ema["log_scale"])

    return take


def test_the_logit_scale_comes_back_from_an_overshoot(steps):
    limit = math.log(100)
    scale, average = steps(-1.0)  # to 10 above its initial value
    assert scale == pytest.approx(limit, rel=1e-6)
    assert average == pytest.approx((INITIAL + limit) / 2, rel=1e-6)
    assert steps(-1.0)[0] == pytest.approx(limit, rel=1e-6)
    assert steps(0.1)[0] == pytest.approx(limit - 1, rel=1e-3)  # a step of 0.1 times a learning rate of 10
    assert steps(0.1)[0] == pytest.approx(limit - 2, rel=1e-3)
