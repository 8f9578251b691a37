"""Tests of the action head against NumPy, and of inputs that it ignores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from svilm_jax.models.heads.classification import ClassificationHead
from tests.models.heads.slow_layers import drawn, layer_norm, linear


@pytest.fixture(scope="module")
def head():
    return drawn(lambda: ClassificationHead(6, 5, rngs=nnx.Rngs(0)))


def test_scores_are_a_linear_layer_on_the_mean_of_all_tokens(head):
    tokens = np.random.default_rng(0).normal(size=(3, 2, 4, 6))
    got = head(jnp.asarray(tokens, jnp.float32))
    assert got.shape == (3, 5)
    for scores, clip in zip(got, tokens, strict=True):
        mean = sum(clip[t, s] for t in range(2) for s in range(4)) / 8
        np.testing.assert_allclose(scores, linear(layer_norm(mean, head.norm), head.out), atol=1e-5)


def test_half_precision_tokens_are_averaged_in_float32(head):
    tokens = jnp.full((1, 4, 256, 6), 1.0, jnp.bfloat16) + jnp.arange(6, dtype=jnp.bfloat16)
    tokens = tokens.at[:, 0].add(0.125)  # lost in a running sum of eight bits
    scores = head(tokens)
    assert scores.dtype == jnp.float32
    np.testing.assert_allclose(scores, head(tokens.astype(jnp.float32)), atol=1e-6)


def test_a_fresh_head_guesses_evenly():
    scores = ClassificationHead(64, 50, rngs=nnx.Rngs(0))(jax.random.normal(jax.random.key(0), (8, 2, 3, 64)))
    np.testing.assert_allclose(jax.nn.softmax(scores), 1 / 50, atol=0.05)
    assert np.ptp(np.asarray(scores)) > 0
