"""Tests of soft-NMS against the published loop over segments."""

import math

import numpy as np
import pytest

from svilm_jax.evaluation.localization.soft_nms import soft_nms


def slow_soft_nms(segments, scores, sigma, threshold, unit, top_k):
    waiting = {
        number: (tuple(segment), score) for number, (segment, score) in enumerate(zip(segments, scores, strict=True))
    }
    kept = []
    while waiting and len(kept) < top_k:
        best = min(waiting, key=lambda number: (-waiting[number][1], number))
        (start, end), score = waiting.pop(best)
        if score <= 0:
            break
        kept.append((best, score))
        for number, ((other_start, other_end), other_score) in waiting.items():
            if other_start > end or start > other_end:
                continue
            common = min(end, other_end) - max(start, other_start)
            union = max(end, other_end) - min(start, other_start)
            iou = common / union if union else 0.0
            if iou > threshold[0] + (threshold[1] - threshold[0]) * (end - start) / unit:
                waiting[number] = ((other_start, other_end), other_score * math.exp(-(iou**2) / sigma))
    return kept


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("sigma", "threshold", "unit"), [(0.8, (0.0, 0.0), 1.0), (0.4, (0.5, 0.9), 12.0), (0.75, (0.65, 0.9), 12.0)]
)
def test_matches_a_slow_loop(seed, sigma, threshold, unit):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 80))
    start = rng.integers(0, 10, n)
    segments = np.stack([start, start + rng.integers(0, 6, n)], axis=1).astype(float)  # with points and duplicates
    scores = rng.integers(0, 9, n) / 8  # with ties and zeros
    index, found = soft_nms(segments, scores, sigma, threshold, unit, top_k=30)
    expected = slow_soft_nms(segments, scores, sigma, threshold, unit, top_k=30)
    assert index.tolist() == [number for number, _ in expected]
    np.testing.assert_allclose(found, [score for _, score in expected], rtol=1e-12)


def test_by_hand():
    index, scores = soft_nms(np.array([[0.0, 10], [0, 5], [20, 30]]), np.array([1.0, 0.9, 0.8]), sigma=0.5)
    assert index.tolist() == [0, 2, 1]
    np.testing.assert_allclose(scores, [1.0, 0.8, 0.9 * math.exp(-(0.5**2) / 0.5)])


def test_the_scores_fall_and_the_input_is_not_changed():
    rng = np.random.default_rng(0)
    start = rng.random(5000)
    segments, scores = np.stack([start, start + rng.random(5000)], axis=1), rng.random(5000)
    before = scores.copy()
    index, found = soft_nms(segments, scores)
    assert len(index) == len(set(index.tolist())) == 100
    assert (np.diff(found) <= 0).all()
    assert (scores == before).all()


def test_a_longer_segment_may_overlap_more_in_bmn():
    short, long = np.array([[0.0, 1], [0, 0.7]]), np.array([[0.0, 10], [0, 7]])
    for segments, decays in ((short, True), (long, False)):
        _, scores = soft_nms(segments, np.array([1.0, 0.5]), sigma=0.4, threshold=(0.5, 0.9), unit=10.0)
        assert (scores[1] < 0.5) == decays


def test_the_only_proposal_stays_and_a_zero_does_not():
    assert soft_nms(np.array([[0.0, 1]]), np.array([0.3]))[1].tolist() == [0.3]
    assert len(soft_nms(np.array([[0.0, 1]]), np.array([0.0]))[0]) == 0
    assert len(soft_nms(np.zeros((0, 2)), np.zeros(0))[0]) == 0


def test_what_has_no_meaning_is_refused():
    for segments, scores, message in [
        (np.zeros((2, 2)), np.zeros(3), r"\[N, 2\]"),
        (np.array([[1.0, 0.0]]), np.ones(1), "no end before its start"),
        (np.array([[0.0, 1.0]]), -np.ones(1), "nonnegative"),
        (np.array([[0.0, 1.0]]), np.array([np.nan]), "finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            soft_nms(segments, scores)
    with pytest.raises(ValueError, match="sigma"):
        soft_nms(np.array([[0.0, 1.0]]), np.ones(1), sigma=0.0)
