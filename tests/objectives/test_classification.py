"""Tests of cross-entropy against loops: smoothing, missing targets, masked rows."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.models.outputs import Outputs
from svilm_jax.objectives.classification import Classification

KEY = jax.random.key(0)
SCORES = np.random.default_rng(0).normal(size=(6, 4)) * 3


def outputs(scores=SCORES):
    return Outputs(video=None, logit_scale=jnp.ones(()), scores=jnp.asarray(scores, jnp.float32))


def batch(target, valid=(True,) * 6):
    return {"target": jnp.asarray(target, jnp.int32), "valid": jnp.asarray(valid)}


def slow(scores, target, valid, smoothing):
    losses, hits = [], []
    for row, truth, exists in zip(scores, target, valid, strict=True):
        if not exists or truth < 0:
            continue
        total = sum(math.exp(s) for s in row)
        share = [smoothing / len(row) + (1 - smoothing) * (c == truth) for c in range(len(row))]
        losses.append(-sum(w * math.log(math.exp(s) / total) for w, s in zip(share, row, strict=True)))
        hits.append(max(range(len(row)), key=lambda c: row[c]) == truth)  # noqa: B023
    return (np.mean(losses), np.mean(hits)) if losses else (0.0, 0.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize(
    ("target", "valid"),
    [
        ([0, 1, 2, 3, 3, 0], (True,) * 6),
        ([0, -1, 2, 3, -1, 0], (True, True, False, True, False, True)),
    ],
)
def test_the_loss_is_the_formula(smoothing, target, valid):
    loss, metrics = Classification(label_smoothing=smoothing)(outputs(), batch(target, valid), KEY)
    expected, accuracy = slow(SCORES, target, valid, smoothing)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["accuracy"]) == pytest.approx(accuracy)


def test_the_best_class_counts_as_a_hit():
    best = SCORES.argmax(axis=1)
    assert float(Classification()(outputs(), batch(best), KEY)[1]["accuracy"]) == 1
    assert float(Classification()(outputs(), batch((best + 1) % 4), KEY)[1]["accuracy"]) == 0


@pytest.mark.parametrize("valid", [(True,) * 6, (False,) * 6])
def test_nothing_to_learn_from_is_zero_with_zero_gradients(valid):
    target = [-1] * 6 if all(valid) else [0] * 6

    def loss(scores):
        made = dataclasses.replace(outputs(), scores=scores)
        return Classification(label_smoothing=0.1)(made, batch(target, valid), KEY)[0]

    value, gradient = jax.value_and_grad(loss)(outputs().scores)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
    assert Classification()(outputs(), batch(target, valid), KEY)[1]["accuracy"] == 0


def test_a_row_that_does_not_count_has_no_gradient():
    def loss(scores):
        valid = (True, True, True, True, True, False)
        made = dataclasses.replace(outputs(), scores=scores)
        return Classification()(made, batch([0, 1, -1, 2, 3, 0], valid), KEY)[0]

    moved = np.abs(np.asarray(jax.grad(loss)(outputs().scores))).sum(axis=1) > 0
    assert moved.tolist() == [True, True, False, True, True, False]


def test_half_precision_scores_are_compared_in_float32():
    half = dataclasses.replace(outputs(), scores=outputs().scores.astype(jnp.bfloat16))
    loss, _ = Classification()(half, batch([0, 1, 2, 3, 3, 0]), KEY)
    rounded = np.asarray(half.scores.astype(jnp.float32), np.float64)
    assert loss.dtype == jnp.float32
    assert float(loss) == pytest.approx(slow(rounded, [0, 1, 2, 3, 3, 0], (True,) * 6, 0.0)[0], rel=1e-5)
