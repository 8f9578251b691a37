"""Tests of dual softmax against a slow loop."""

import math

import numpy as np
import pytest

from svilm_jax.evaluation.retrieval.dual_softmax import dual_softmax
from svilm_jax.evaluation.retrieval.metrics import pessimistic_ranks


def slow(similarity, temperature):
    queries, items = similarity.shape
    out = np.zeros((queries, items))
    for q in range(queries):
        for g in range(items):
            total = sum(math.exp(similarity[p, g] / temperature) for p in range(queries))
            out[q, g] = similarity[q, g] * math.exp(similarity[q, g] / temperature) / total
    return out


@pytest.mark.parametrize("temperature", [0.02, 0.1, 1.0])
def test_matches_a_slow_loop(temperature):
    similarity = np.random.default_rng(0).normal(0, 0.4, (7, 5))
    np.testing.assert_allclose(dual_softmax(similarity, temperature), slow(similarity, temperature), rtol=1e-10)


def test_a_hub_that_everybody_likes_loses_to_what_only_one_likes():
    similarity = np.array([[0.5, 0.6, 0.1], [0.1, 0.9, 0.2], [0.1, 0.8, 0.7]])
    right = np.eye(3, dtype=bool)
    assert pessimistic_ranks(similarity, right).tolist() == [2, 1, 2]
    assert pessimistic_ranks(dual_softmax(similarity, 0.05), right).tolist() == [1, 1, 1]


def test_large_similarities_do_not_overflow():
    found = dual_softmax(np.array([[900.0, 1.0], [1.0, 900.0]]), 0.01)
    np.testing.assert_allclose(found, [[900, 0], [0, 900]])


def test_what_has_no_meaning_is_refused():
    with pytest.raises(ValueError, match="positive"):
        dual_softmax(np.eye(2), 0.0)
    with pytest.raises(ValueError, match="positive"):
        dual_softmax(np.eye(2), math.nan)
    with pytest.raises(ValueError, match="queries, gallery"):
        dual_softmax(np.ones(3))
