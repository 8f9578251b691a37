"""Tests of InfoNCE and SigLIP against loops written from the formulas, with masks and fully masked gradients."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.objectives.contrast import Pairing, info_nce, masked_mean, streamed_sigmoid_contrast


def slow_info_nce(scores, rows, columns):
    across, down = [], []
    for i in range(len(scores)):
        if not (rows[i] and columns[i]):
            continue
        across.append(-scores[i][i] + math.log(sum(math.exp(scores[i][j]) for j in range(len(scores)) if columns[j])))
        down.append(-scores[i][i] + math.log(sum(math.exp(scores[j][i]) for j in range(len(scores)) if rows[j])))
    return (np.mean(across), np.mean(down)) if across else (0.0, 0.0)


@pytest.mark.parametrize("masked", [False, True])
def test_info_nce_is_the_formula(masked):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(7, 7)) * 3
    rows = rng.random(7) < 0.6 if masked else np.ones(7, bool)
    columns = rng.random(7) < 0.7 if masked else np.ones(7, bool)
    got = info_nce(jnp.asarray(scores), jnp.asarray(rows), jnp.asarray(columns))
    np.testing.assert_allclose(got, slow_info_nce(scores, rows, columns), rtol=1e-5)


def test_equal_scores_cost_the_logarithm_of_the_batch():
    across, down = info_nce(jnp.zeros((16, 16)), jnp.ones(16, bool), jnp.ones(16, bool))
    np.testing.assert_allclose([across, down], math.log(16), rtol=1e-6)


def test_nothing_counts_gives_zero_and_finite_gradients():
    none = jnp.zeros(4, bool)
    value, gradient = jax.value_and_grad(lambda s: sum(info_nce(s, none, none)))(jnp.ones((4, 4)))
    assert value == 0
    assert np.all(np.asarray(gradient) == 0)


def test_sigmoid_contrast_is_the_formula():
    rng = np.random.default_rng(1)
    scores, bias = rng.normal(size=(5, 5)) * 2, -1.5
    exists = np.array([True, True, False, True, True])
    total = 0.0
    for i in range(5):
        for j in range(5):
            if exists[i] and exists[j]:
                sign = 1 if i == j else -1
                total += math.log(1 + math.exp(-sign * (scores[i, j] + bias)))
    # Scores as products of their own rows with unit vectors: any matrix is a score of something.
    pairing = Pairing(
        lambda rows, columns: rows @ columns.T + bias,
        jnp.asarray(scores, jnp.float32),
        jnp.eye(5),
        jnp.asarray(exists),
        jnp.asarray(exists),
    )
    for chunk in (1, 2, 5, 8):
        got, hits = streamed_sigmoid_contrast(pairing, chunk, "gather")
        np.testing.assert_allclose(got, total / exists.sum(), rtol=1e-5)
        ahead = [
            all(scores[i, i] > scores[i, j] for j in range(5) if exists[j] and j != i) for i in range(5) if exists[i]
        ]
        np.testing.assert_allclose(hits, np.mean(ahead))


def test_masked_mean():
    assert masked_mean(jnp.array([1.0, 5.0, 9.0]), jnp.array([True, False, True])) == 5.0
    assert masked_mean(jnp.array([1.0, jnp.nan]), jnp.array([True, False])) == 1.0
