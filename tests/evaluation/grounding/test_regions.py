"""Tests of region overlap against scikit-learn's Jaccard index and a simulation."""

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from svilm_jax.evaluation.grounding.regions import RegionOverlap, chance_iou, iou
from svilm_jax.evaluation.metric import scalars

TUBELET = (2, 4, 4)


def test_iou_matches_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(5):
        region, mask = rng.random((2, 4, 8, 8)) < rng.random()
        assert iou(region, mask) == pytest.approx(jaccard_score(mask.ravel(), region.ravel(), zero_division=0))
    assert iou(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 0.0


def test_chance_matches_pixels_drawn_at_random():
    rng = np.random.default_rng(0)
    region, mask = np.zeros((2, 20, 20), bool), np.zeros((2, 20, 20), bool)
    region[:, :7], mask[:, 5:9, 3:17] = True, True
    drawn = [iou(rng.permutation(region.ravel()).reshape(mask.shape), mask) for _ in range(500)]
    assert chance_iou(region, mask) == pytest.approx(np.mean(drawn), abs=0.003)
    assert chance_iou(np.ones_like(mask), mask) == pytest.approx(mask.mean())


def test_metrics_against_a_loop_over_pixels():
    rng = np.random.default_rng(1)
    winners = rng.integers(0, 4, (3, 2, 2))
    ids = rng.integers(0, 3, (6, 8, 8))
    objects, matched = np.stack([ids == 1, ids == 2]), np.array([3, 0])
    overlap = RegionOverlap()
    overlap.add(winners, matched, objects, TUBELET)
    table = np.zeros((4, 2))  # IoU of every group with every object
    for group in range(4):
        for k in range(2):
            both = either = 0
            for t, y, x in np.ndindex(6, 8, 8):
                inside, on = winners[t // 2, y // 4, x // 4] == group, objects[k, t, y, x]
                both, either = both + (inside and on), either + (inside or on)
            table[group, k] = both / either
    metrics = scalars(overlap.metrics())
    assert metrics["grounding/mean_iou"] == pytest.approx((table[3, 0] + table[0, 1]) / 2)
    assert metrics["grounding/mean_iou_phrase_blind"] == pytest.approx(table.mean(axis=1).max())
    assert metrics["grounding/groups_used"] == len(np.unique(winners))


def test_a_group_that_wins_nothing_covers_nothing():
    overlap = RegionOverlap()
    overlap.add(np.zeros((1, 2, 2), int), np.array([5]), np.ones((1, 2, 8, 8), bool), TUBELET)
    assert scalars(overlap.metrics())["grounding/mean_iou"] == 0.0
    assert scalars(overlap.metrics())["grounding/mean_iou_phrase_blind"] == 1.0


def test_an_object_never_in_view_is_not_counted():
    objects = np.zeros((2, 2, 8, 8), bool)
    objects[0, :, :4] = True
    overlap = RegionOverlap()
    overlap.add(np.array([[[0, 0], [1, 1]]]), np.array([0, 1]), objects, TUBELET)
    assert (overlap.phrases, scalars(overlap.metrics())["grounding/mean_iou"]) == (1, 1.0)


def test_nothing_seen_and_wrong_sizes_are_errors():
    with pytest.raises(ValueError, match="no object is visible in any clip"):
        RegionOverlap().metrics()
    with pytest.raises(ValueError, match="do not cover"):
        RegionOverlap().add(np.zeros((1, 2, 2), int), np.array([0]), np.zeros((1, 2, 9, 8), bool), TUBELET)
