"""Tests of schedule, decay mask and update rules against manual computation."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from flax import nnx

from svilm_jax.config import InitConfig, OptimizerConfig
from svilm_jax.models.parameters import abstract_model
from svilm_jax.training.freezing import scale_by_group
from svilm_jax.training.muon import scale_by_muon
from svilm_jax.training.optimizer import make_optimizer, make_schedule, matrices
from tests.tiny import tiny_config


def test_schedule_warms_up_linearly_and_falls_as_a_cosine():
    schedule = make_schedule(OptimizerConfig(learning_rate=2.0, warmup_fraction=0.1, final_lr_fraction=0.1), 100)
    assert float(schedule(0)) == 0
    assert float(schedule(5)) == pytest.approx(1.0)
    assert float(schedule(10)) == pytest.approx(2.0)
    assert float(schedule(55)) == pytest.approx(2 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 45 / 90))))
    assert float(schedule(100)) == pytest.approx(0.2)


def test_schedule_in_steps():
    options = {"schedule": "steps", "learning_rate": 2.0, "drops": (0.5, 0.75), "drop_factor": 0.1}
    schedule = make_schedule(OptimizerConfig(**options, warmup_fraction=0.0), 100)
    values = [2.0] * 50 + [0.2] * 25 + [0.02] * 25  # as PyTorch's StepLR after half and three quarters of the epochs
    np.testing.assert_allclose([float(schedule(count)) for count in range(100)], values, rtol=1e-6)
    warm = make_schedule(OptimizerConfig(**options, warmup_fraction=0.1), 100)
    assert [float(warm(count)) for count in (0, 5, 10, 49, 50)] == pytest.approx([0, 1, 2, 2, 0.2])


def test_matrices_are_the_kernels():
    _, abstract = abstract_model(tiny_config(), 50)
    mask = matrices(nnx.to_pure_dict(abstract))
    rows = {
        jax.tree_util.keystr(p, simple=True, separator="."): v for p, v in jax.tree_util.tree_leaves_with_path(mask)
    }
    assert all(decays == name.endswith(".kernel") for name, decays in rows.items()), rows


def test_sgd_with_momentum_and_decoupled_decay():
    config = OptimizerConfig(
        name="sgd", learning_rate=0.5, momentum=0.9, weight_decay=0.1, clip_norm=0, warmup_fraction=0
    )
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


@pytest.mark.parametrize("decayed", ["all", "matrices"])
def test_adam_adds_the_decay_to_the_gradients(decayed):
    """By the formulas of PyTorch's Adam: the penalty passes through both moments."""
    config = OptimizerConfig(
        name="adam", learning_rate=0.1, beta2=0.999, weight_decay=0.5, decayed=decayed, clip_norm=0, warmup_fraction=0
    )
    optimizer = make_optimizer(dataclasses.replace(config, schedule="steps", drops=(1.0,)), 100)
    params = {"kernel": jnp.array([2.0]), "bias": jnp.array([2.0])}
    state = optimizer.init(params)
    expected, moments = dict.fromkeys(params, 2.0), {name: [0.0, 0.0] for name in params}
    for step, slope in enumerate((1.0, -3.0, 0.5), start=1):
        updates, state = optimizer.update({name: jnp.array([slope]) for name in params}, state, params)
        params = optax.apply_updates(params, updates)
        for name in params:
            decays = name == "kernel" or decayed == "all"
            gradient = slope + 0.5 * expected[name] * decays
            first, second = moments[name] = [
                0.9 * moments[name][0] + 0.1 * gradient,
                0.999 * moments[name][1] + 0.001 * gradient**2,
            ]
            expected[name] -= 0.1 * (first / (1 - 0.9**step)) / (math.sqrt(second / (1 - 0.999**step)) + 1e-8)
            np.testing.assert_allclose(params[name], expected[name], rtol=1e-5)


def test_gradients_are_clipped_by_their_global_norm():
    config = OptimizerConfig(
        name="sgd", learning_rate=1.0, momentum=0, weight_decay=0, clip_norm=1.0, warmup_fraction=0
    )
    optimizer = make_optimizer(config, 10)
    params = {"a": jnp.array([0.0]), "b": jnp.array([0.0])}
    updates, _ = optimizer.update({"a": jnp.array([3.0]), "b": jnp.array([4.0])}, optimizer.init(params), params)
    np.testing.assert_allclose([updates["a"][0], updates["b"][0]], [-0.6, -0.8], rtol=1e-5)


def orthogonal(m, steps=5, coefficients=(3.4445, -4.775, 2.0315)):
    """The Newton-Schulz iteration of Muon on one matrix, in double precision."""
    a, b, c = coefficients
    x = (m if m.shape[0] <= m.shape[1] else m.T).astype(np.float64)
    x = x / np.linalg.norm(x)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if m.shape[0] <= m.shape[1] else x.T


def test_muon_turns_every_matrix_of_a_stack_and_leaves_the_rest_to_adam():
    config = OptimizerConfig(
        name="muon", learning_rate=0.5, momentum=0.9, beta1=0.8, weight_decay=0.1, clip_norm=0, warmup_fraction=0
    )
    optimizer = make_optimizer(config, 10)
    rng = np.random.default_rng(0)
    params = {
        "layers": {"kernel": rng.normal(size=(2, 6, 4)), "bias": rng.normal(size=(2, 4))},
        "token_embedding": np.ones(3),
    }
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
    gradients = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), params)
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    for i in range(2):
        # Nesterov's momentum of one gradient is a multiple of it, and what is made orthogonal has no length.
        turned = orthogonal(np.asarray(gradients["layers"]["kernel"][i])) * math.sqrt(6) * 0.2
        expected = -0.5 * (turned + 0.1 * np.asarray(params["layers"]["kernel"][i]))
        np.testing.assert_allclose(updates["layers"]["kernel"][i], expected, rtol=1e-3, atol=1e-4)
    for name, update in (("bias", updates["layers"]["bias"]), ("table", updates["token_embedding"])):
        gradient = gradients["layers"]["bias"] if name == "bias" else gradients["token_embedding"]
        np.testing.assert_allclose(update, -0.5 * np.sign(gradient), rtol=1e-4)  # Adam's first step


def test_the_scale_of_muon_is_that_of_section_2_2():
    """0.2 √max(m, n), for every matrix of a stack."""
    params = {"kernel": jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 4)), jnp.float32)}
    dimensions = {"kernel": optax.contrib.MuonDimensionNumbers(1, 2)}
    plain = optax.contrib.scale_by_muon(beta=0.9, weight_dimension_numbers=dimensions)
    scaled = scale_by_muon(optax.scale_by_adam(), matrices, 0.9, 0.2, None)
    expected, _ = plain.update(params, plain.init(params))
    found, _ = scaled.update(params, scaled.init(params), params)
    np.testing.assert_allclose(found["kernel"], 0.2 * math.sqrt(6) * expected["kernel"], rtol=1e-6)


def test_muon_takes_over_from_adam_at_its_share_of_the_steps():
    fields = {"learning_rate": 0.5, "momentum": 0.9, "beta1": 0.8, "weight_decay": 0.1, "clip_norm": 0}
    late, adam, muon = (
        make_optimizer(OptimizerConfig(name=name, muon_start_fraction=share, warmup_fraction=0, **fields), 10)
        for name, share in (("muon", 0.2), ("adamw", 0.0), ("muon", 0.0))
    )
    params = {"a": {"kernel": jnp.ones((3, 2))}, "bias": jnp.ones(2)}
    states = [optimizer.init(params) for optimizer in (late, adam, muon)]
    rng = np.random.default_rng(0)
    for step in range(4):
        gradients = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), params)
        moved = [
            optimizer.update(gradients, state, params)
            for optimizer, state in zip((late, adam, muon), states, strict=True)
        ]
        states = [state for _, state in moved]
        got, by_adam, by_muon = (update for update, _ in moved)
        np.testing.assert_allclose(got["bias"], by_adam["bias"], rtol=1e-5)
        expected = (by_adam if step < 2 else by_muon)["a"]["kernel"]
        np.testing.assert_allclose(got["a"]["kernel"], expected, rtol=1e-5)
        assert not np.allclose(by_adam["a"]["kernel"], by_muon["a"]["kernel"], rtol=0.05)


def test_factors_scale_the_whole_update_of_each_parameter():
    """Decay included, or what is frozen would shrink; after clipping, so that they do not change the common norm."""
    config = OptimizerConfig(
        name="sgd", learning_rate=0.5, momentum=0, weight_decay=0.1, clip_norm=1, warmup_fraction=0
    )
    factors = {"a": {"kernel": 0.0}, "b": {"kernel": 0.25}, "c": {"kernel": 1.0}}
    scales = scale_by_group(InitConfig(freeze=("a",), learning_rate_scale=0.25), fresh=("c",))
    optimizer = make_optimizer(config, 10, scales)
    params = {name: {"kernel": jnp.array([2.0])} for name in factors}
    gradients = {name: {"kernel": jnp.array([size])} for name, size in (("a", 2.0), ("b", 1.0), ("c", -2.0))}
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    for name, gradient in (("a", 2 / 3), ("b", 1 / 3), ("c", -2 / 3)):  # the norm of all three was 3
        expected = factors[name]["kernel"] * -0.5 * (gradient + 0.1 * 2.0)
        np.testing.assert_allclose(updates[name]["kernel"], [expected], rtol=1e-5)


def _without_names(tree):
    """A state as Orbax compares it: stages that keep nothing count, and their types do not."""
    if isinstance(tree, tuple):
        items = [_without_names(item) for item in tree]
        return items or {"nothing": 0}
    return {key: _without_names(value) for key, value in tree.items()} if isinstance(tree, dict) else tree


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_factors_have_no_statistics_of_their_own(name):
    """A checkpoint's statistics fit a run with and without them, and with and without clipping, in structure, too."""
    params = {"a": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}}
    states = [
        make_optimizer(OptimizerConfig(name=name, clip_norm=clip_norm), 10, scales).init(params)
        for scales in (None, scale_by_group(InitConfig(freeze=("a.bias",), learning_rate_scale=0.5), ()))
        for clip_norm in (0.0, 1.0)
    ]
    kinds = [jax.tree.structure(_without_names(state)) for state in states]
    assert len(set(kinds)) == 1


def test_the_state_of_muon_does_not_depend_on_the_number_of_steps():
    """Of 5 steps a tenth rounds to none, of 6 to one: a run of 5 goes on to 6 all the same."""
    config = OptimizerConfig(name="muon", muon_start_fraction=0.1)
    params = {"layer": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)}}
    few, more = (jax.eval_shape(make_optimizer(config, steps).init, params) for steps in (5, 6))
    assert jax.tree.structure(few) == jax.tree.structure(more)
