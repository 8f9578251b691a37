"""Tests of the scene-cut F1: peaks, one-to-one matching, thresholds, chance level."""

import itertools

import numpy as np
import pytest

from svilm_jax.evaluation.temporal_grouping import cut_detection as cuts


def exhaustive_matches(predicted, true, tolerance):
    """The best of all one-to-one assignments, tried one by one."""
    few, many = sorted([predicted, true], key=len)
    if not few:
        return 0
    return max(
        sum(abs(a - b) <= tolerance for a, b in zip(few, order, strict=True))
        for order in itertools.permutations(many, len(few))
    )


@pytest.mark.parametrize("seed", range(30))
def test_matching_is_the_largest_possible(seed):
    rng = np.random.default_rng(seed)
    predicted, true = rng.uniform(0, 3, rng.integers(0, 6)).tolist(), rng.uniform(0, 3, rng.integers(0, 6)).tolist()
    assert cuts.matches(predicted, true, 0.25) == exhaustive_matches(predicted, true, 0.25)


def test_one_cut_cannot_be_found_twice():
    assert cuts.matches([0.9, 1.0, 1.1], [1.0], 0.25) == 1
    assert cuts.f1([[0.9, 1.0, 1.1]], [[1.0]], 0.25) == pytest.approx(2 * 1 / (3 + 1))


def test_f1_is_the_harmonic_mean_of_pooled_precision_and_recall():
    predicted, true = [[1.0, 2.0, 3.0], [], [5.0]], [[1.1, 2.9], [4.0], [5.1, 7.0]]
    precision, recall = 3 / 4, 3 / 5
    assert cuts.f1(predicted, true, 0.25) == pytest.approx(2 * precision * recall / (precision + recall))


def test_f1_at_the_edges():
    assert cuts.f1([[]], [[]], 0.25) == 1.0
    assert cuts.f1([[]], [[1.0]], 0.25) == 0.0
    assert cuts.f1([[1.0]], [[]], 0.25) == 0.0
    assert cuts.f1([[1.25]], [[1.0]], 0.25) == 1.0, "the tolerance is inclusive"


def test_windows_are_averaged_where_they_overlap():
    curve = cuts.DissimilarityCurve(0.25, 7)
    curve.add(0, np.array([1.0, 2.0, 3.0]))
    curve.add(2, np.array([5.0, 7.0]))
    assert curve.values.tolist() == [1.0, 2.0, 4.0, 7.0, -np.inf, -np.inf, -np.inf]
    assert curve.times.tolist() == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]


def test_dissimilarity_is_one_minus_cosine():
    z = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, -1.0], [0.0, 0.0]])
    np.testing.assert_allclose(cuts.neighbor_dissimilarity(z), [0.0, 1.0, 2.0, 1.0])


def test_peaks_suppress_their_neighborhood():
    times = np.arange(1, 8) * 0.25
    values = np.array([0.1, 0.9, 0.2, 0.8, 0.3, 0.3, 0.7])
    assert cuts.candidate_peaks(times, values, 0.6) == [(0.5, 0.9), (1.75, 0.7)]
    assert cuts.candidate_peaks(times, values, 0.5) == [(0.5, 0.9), (1.0, 0.8), (1.75, 0.7)]


def test_where_no_window_looked_there_is_no_peak():
    assert cuts.candidate_peaks(np.array([0.5, 1.0]), np.array([-np.inf, -np.inf]), 0.5) == []


def test_an_all_equal_curve_keeps_peaks_a_gap_apart():
    kept = cuts.candidate_peaks(np.arange(1, 6) * 0.25, np.zeros(5), 0.5)
    assert kept == [(0.25, 0.0), (0.75, 0.0), (1.25, 0.0)]


def test_the_threshold_is_the_best_of_all():
    rng = np.random.default_rng(0)
    true = [sorted(rng.uniform(0, 8, 4)) for _ in range(5)]
    peaks = [[(t + rng.normal() * 0.1, rng.normal() + 1) for t in video] for video in true]
    peaks = [video + [(float(t), float(rng.normal())) for t in rng.uniform(0, 8, 6)] for video in peaks]
    chosen = cuts.best_threshold(peaks, true, 0.25)
    score = cuts.f1([cuts.above(video, chosen) for video in peaks], true, 0.25)
    every = [value for video in peaks for _, value in video]
    assert score == max(
        cuts.f1([cuts.above(video, t - 1e-9) for video in peaks], true, 0.25) for t in [*every, max(every) + 1]
    )


def test_the_threshold_without_peaks_or_cuts():
    assert cuts.best_threshold([[], []], [[1.0], []], 0.25) == 0.0
    # Nothing to find: the best threshold calls nothing.
    assert cuts.above([(1.0, 0.5)], cuts.best_threshold([[(1.0, 0.5)]], [[]], 0.25)) == []


def test_random_cuts_of_one_video_match_the_exact_probability():
    # One cut in the middle of 10 s, found when the draw falls within ± 0.25 s: probability 0.05.
    assert cuts.random_f1([[5.0]], [10.0], 0.25, draws=20000) == pytest.approx(0.05, abs=0.005)


def test_evenly_spaced_cuts():
    assert cuts.evenly_spaced_f1([[2.0, 4.0]], [6.0], 0.25) == 1.0
    assert cuts.evenly_spaced_f1([[1.0, 4.0]], [6.0], 0.25) == 0.5
