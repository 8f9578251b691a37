"""Tests of the span readout: greatest separation, and accuracy against a loop."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score
from sklearn.metrics.pairwise import cosine_similarity

from svilm_jax.evaluation.temporal_grouping import spans


@pytest.mark.parametrize("length", [3, 4, 7, 8, 16])
def test_legal_spans_dominate_and_leave_something(length):
    expected = [
        (s, e) for s in range(length) for e in range(s + 1, length + 1) if length // 2 + 1 <= e - s <= length - 1
    ]
    assert spans.legal_spans(length) == expected
    assert all(2 * (e - s) > length > e - s for s, e in expected)


def test_two_tubelets_cannot_be_spliced():
    with pytest.raises(ValueError, match="at least 3"):
        spans.legal_spans(2)


def slow_separation(z, mask):
    front, back = z[mask].mean(0, keepdims=True), z[~mask].mean(0, keepdims=True)
    total = 0.0
    for row, inside in zip(z, mask, strict=True):
        to_front = cosine_similarity(row[None], front)[0, 0]
        to_back = cosine_similarity(row[None], back)[0, 0]
        total += to_front - to_back if inside else to_back - to_front
    return total / len(z)


@pytest.mark.parametrize("seed", range(4))
def test_separation_matches_a_loop_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(8, 5))
    scores = {}
    for span in spans.legal_spans(8):
        mask = spans.span_mask(span, 8)
        scores[span] = slow_separation(z, mask)
        assert spans.separation(z, mask) == pytest.approx(scores[span])
    assert spans.read_span(z) == max(scores, key=scores.get)


@pytest.mark.parametrize("readout", spans.READOUTS)
def test_every_span_is_read_exactly_from_two_clear_scenes(readout):
    rng = np.random.default_rng(0)
    for span in spans.legal_spans(8):
        scenes = rng.normal(size=(2, 16)) + 2.0  # a common part that all tubelets share
        z = np.where(spans.span_mask(span, 8)[:, None], scenes[0], scenes[1]) + rng.normal(size=(8, 16)) * 0.05
        assert spans.read_span(z, readout) == span


def test_ward_is_what_is_left_of_the_total_sum_of_squares():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(8, 5))
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    mask = spans.span_mask((1, 6), 8)
    within = sum(((unit[m] - unit[m].mean(0)) ** 2).sum() for m in (mask, ~mask))
    assert spans.ward(z, mask) == pytest.approx(((unit - unit.mean(0)) ** 2).sum() - within)


@pytest.mark.parametrize("z", [np.ones((8, 4)), np.zeros((8, 4)), np.full((8, 3), 0.1)])
def test_equal_vectors_get_a_fixed_span_whatever_the_truth(z):
    assert spans.read_span(z) == spans.legal_spans(8)[-1]


def test_accuracies_match_scikit_learn():
    legal = spans.legal_spans(8)
    for true in legal:
        truth = spans.span_mask(true, 8)
        each = [accuracy_score(truth, spans.span_mask(span, 8)) for span in legal]
        assert [spans.tubelet_accuracy(span, true, 8) for span in legal] == pytest.approx(each)
        assert spans.chance_accuracy(true, 8) == pytest.approx(np.mean(each))
        assert spans.all_foreground_accuracy(true, 8) == pytest.approx(accuracy_score(truth, np.ones(8, bool)))


def test_features_that_are_not_finite_are_refused():
    z = np.ones((8, 4))
    z[3, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        spans.read_span(z)
    with pytest.raises(ValueError, match="expected one of"):
        spans.read_span(np.ones((8, 4)), "median")


def test_the_constant_span_is_the_best_that_one_answer_for_all_can_do():
    # d = 3 starts at 0, 1, 2 and d = 4 at 0, 1: calling the middle three of five tubelets foreground is right in
    # (3 + 5 + 3 + 4 + 4) / 25 of them.
    assert spans.constant_accuracy(spans.legal_spans(5), 5) == pytest.approx(19 / 25)
    assert spans.constant_accuracy([(0, 4), (0, 4), (1, 5)], 5) == pytest.approx((1 + 1 + 3 / 5) / 3)
