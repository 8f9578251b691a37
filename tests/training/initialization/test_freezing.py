"""Tests of which parameters move, and how far: frozen ones, and learning-rate multipliers of pretrained ones."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.config import ConfigError, InitConfig, OptimizerConfig
from svilm_jax.training import loss as losses
from svilm_jax.training.freezing import frozen, scale_by_group
from svilm_jax.training.optimizer import make_optimizer
from tests.tiny import tiny_config
from tests.training.initialization.runs import named

PARAMS = {
    "head": {"out": {"kernel": jnp.full((4, 3), 0.5), "bias": jnp.full(3, 0.5)}},
    "text_tower": {"kernel": jnp.full((4, 4), 0.7), "token_embedding": jnp.full((5, 4), 0.3)},
    "video_tower": {"kernel": jnp.full((2, 4, 4), 0.6), "norm": {"scale": jnp.ones(4)}},
}


def stepped(init, gradients, name):
    """[(updates, parameters)] of a run from a checkpoint on these gradients."""
    config = OptimizerConfig(name=name, learning_rate=0.1, weight_decay=0.3, warmup_fraction=0.0)
    optimizer = make_optimizer(config, 4, scale_by_group(init, ()))
    update = jax.jit(optimizer.update)
    params, state, seen = PARAMS, optimizer.init(PARAMS), []
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        seen.append((named(updates), named(params)))
    return seen


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_no_optimizer_moves_what_is_frozen_and_all_heed_the_scale(name):
    still, rng = ("text_tower",), np.random.default_rng(0)
    trees = [jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), PARAMS) for _ in range(3)]
    # Zero where frozen: so the loss gives them.
    gradients = [jax.tree.map(lambda g, f: g * (not f), tree, frozen(PARAMS, still)) for tree in trees]
    (plain, _), *_ = stepped(InitConfig(), gradients[:1], name)
    (first, _), *_, (_, last) = stepped(InitConfig(learning_rate_scale=0.1, freeze=still), gradients, name)
    for key, before in named(PARAMS).items():
        if key.startswith(still):
            np.testing.assert_array_equal(last[key], before, err_msg=key)
        else:
            factor = 1.0 if key.startswith("head.") else 0.1
            np.testing.assert_allclose(first[key], factor * plain[key], rtol=1e-5, err_msg=key)
            assert np.isfinite(last[key]).all()
            assert np.all(last[key] != before), key


def factors(config, fresh):
    """The factor of every parameter's update."""
    stage, ones = scale_by_group(config, fresh), jax.tree.map(jnp.ones_like, PARAMS)
    updates, _ = stage.update(ones, stage.init(PARAMS), PARAMS)
    return {name: float(value.mean()) for name, value in named(updates).items()}


def test_factors_are_one_without_a_checkpoint():
    assert set(factors(InitConfig(), ()).values()) == {1.0}
    assert set(factors(InitConfig(learning_rate_scale=0.1), None).values()) == {1.0}  # everything is fresh
    assert factors(InitConfig(learning_rate_scale=0.1, freeze=("video_tower.norm",)), None) == {
        name: 0.0 if name == "video_tower.norm.scale" else 1.0 for name in named(PARAMS)
    }


def test_what_is_fresh_in_an_import_moves_at_the_full_rate():
    found = factors(InitConfig(learning_rate_scale=0.1), ("video_tower.norm.scale",))
    full = {name for name, value in found.items() if value == 1.0}
    assert full == {"head.out.kernel", "head.out.bias", "video_tower.norm.scale"}


def test_a_loss_has_no_gradient_for_what_is_frozen(monkeypatch):
    config = dataclasses.replace(tiny_config(task="localization"), init=InitConfig(freeze=("video_tower.kernel",)))
    monkeypatch.setattr(losses, "encode", lambda config, structure, params, batch, key: params)
    monkeypatch.setattr(
        losses, "total_loss", lambda objectives, params, *_: (sum((p**2).sum() for p in jax.tree.leaves(params)), {})
    )
    loss = losses.make_loss(config, None, {})
    gradients = jax.grad(loss, has_aux=True)(PARAMS, {"valid": jnp.ones(2, bool)}, jax.random.key(0))[0]
    before = named(PARAMS)
    for name, value in named(gradients).items():
        np.testing.assert_array_equal(value, 2 * before[name] * (name != "video_tower.kernel"), err_msg=name)


def test_a_prefix_that_nothing_starts_with_is_named():
    with pytest.raises(ConfigError, match=r"starts with 'text_towr'; the first parts are \['head', 'text_tower'"):
        frozen(PARAMS, ("video_tower", "text_towr"))
