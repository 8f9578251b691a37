"""Tests of ranks, recall and chance levels, with ties counted against the model."""

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from svilm_jax.evaluation.retrieval import metrics


def slow_rank(scores, right):
    best = max(s for s, r in zip(scores, right, strict=True) if r)
    rank = 1
    for score, is_right in zip(scores, right, strict=True):
        if not is_right and score >= best:
            rank += 1
    return rank


@pytest.mark.parametrize("seed", range(5))
def test_ranks_match_a_slow_loop_with_ties_and_several_answers(seed):
    rng = np.random.default_rng(seed)
    similarity = rng.integers(0, 6, (40, 17)).astype(np.float32)  # few values: many ties
    positives = rng.random((40, 17)) < 0.2
    positives[np.arange(40), rng.integers(0, 17, 40)] = True
    ranks = metrics.pessimistic_ranks(similarity, positives)
    assert ranks.tolist() == [slow_rank(s, p) for s, p in zip(similarity, positives, strict=True)]


def test_recall_matches_scikit_learn_where_there_are_no_ties():
    rng = np.random.default_rng(0)
    similarity = rng.normal(size=(50, 50))
    found = metrics.recall_metrics(metrics.pessimistic_ranks(similarity, np.eye(50, dtype=bool)))
    for k in (1, 5, 10):
        assert found[f"R{k}"] == pytest.approx(top_k_accuracy_score(np.arange(50), similarity, k=k))


def test_all_equal_similarities_give_the_worst_rank():
    ranks = metrics.pessimistic_ranks(np.ones((7, 7)), np.eye(7, dtype=bool))
    assert ranks.tolist() == [7] * 7
    assert metrics.recall_metrics(ranks) == {"R1": 0.0, "R5": 0.0, "R10": 1.0, "MedR": 7.0, "MeanR": 7.0}


def test_one_item_is_always_found():
    ranks = metrics.pessimistic_ranks(np.zeros((1, 1)), np.ones((1, 1), bool))
    assert ranks.tolist() == [1]
    assert metrics.chance_metrics(np.ones((1, 1), bool)) == {
        "R1": 1.0,
        "R5": 1.0,
        "R10": 1.0,
        "MedR": 1.0,
        "MeanR": 1.0,
    }


def test_median_rank_counts_from_one():
    found = metrics.recall_metrics(np.array([1, 1, 4, 9]))
    assert found["MedR"] == 2.5
    assert found["MeanR"] == 3.75


def test_chance_is_k_over_n_with_one_answer():
    found = metrics.chance_metrics(np.eye(200, dtype=bool))
    assert found["R1"] == pytest.approx(1 / 200)
    assert found["R10"] == pytest.approx(10 / 200)
    assert found["MedR"] == 100.5


@pytest.mark.parametrize(("right", "wrong"), [(1, 4), (2, 3), (3, 2), (2, 4)])
def test_chance_matches_every_order_of_the_gallery(right, wrong):
    positives = np.array([[True] * right + [False] * wrong])
    orders = np.array(list(itertools.permutations(range(right + wrong))), float)
    ranks = metrics.pessimistic_ranks(orders, np.repeat(positives, len(orders), axis=0))
    found = metrics.chance_metrics(positives, (1, 2, 3))
    for k in (1, 2, 3):
        assert found[f"R{k}"] == pytest.approx(np.mean(ranks <= k))
    assert found["MedR"] == np.median(ranks)
    assert found["MeanR"] == pytest.approx(np.mean(ranks))


def test_chance_in_a_gallery_of_many_captions_is_quick_and_exact():
    owner = np.repeat(np.arange(300), np.arange(300) % 40 + 1)
    found = metrics.chance_metrics(np.arange(300)[:, None] == owner)  # binomials of thousands of digits
    total, expected = len(owner), []
    for right in np.bincount(owner).tolist():
        wrong = total - right
        expected.append(1 - math.comb(wrong, 10) / math.comb(total, 10))
    assert found["R10"] == pytest.approx(np.mean(expected), rel=1e-12)


def test_nan_is_refused_and_not_ranked_first():
    similarity = np.zeros((3, 3))
    similarity[1] = np.nan
    with pytest.raises(ValueError, match="query 1"):
        metrics.pessimistic_ranks(similarity, np.eye(3, dtype=bool))


def test_a_query_without_an_answer_and_an_empty_gallery_are_errors():
    with pytest.raises(ValueError, match="query 2"):
        metrics.pessimistic_ranks(np.zeros((3, 2)), np.eye(3, 2, dtype=bool))
    with pytest.raises(ValueError, match="no queries"):
        metrics.recall_metrics(np.zeros(0))
    with pytest.raises(ValueError, match="same"):
        metrics.pessimistic_ranks(np.zeros((3, 2)), np.zeros((3, 3), bool))
