"""Tests of the pointing game against a loop over every point."""

import numpy as np
import pytest

from svilm_jax.evaluation.grounding.pointing import PointingGame, at_patch_centers, centers_of_mass
from svilm_jax.evaluation.metric import scalars

TUBELET = (2, 4, 4)


def scene(rng, phrases=3, frames=6, size=16):
    """Masks that never overlap: each pixel belongs to one object or to none."""
    ids = rng.integers(0, phrases + 1, (frames, size // 4, size // 4)).repeat(4, 1).repeat(4, 2)
    return np.stack([ids == k + 1 for k in range(phrases)])


def slow_point(mass, y, x):
    """Center of mass of a patch and its neighbors, in pixels, by hand."""
    near = [(r, c) for r in range(y - 1, y + 2) for c in range(x - 1, x + 2) if 0 <= r < 4 and 0 <= c < 4]
    total = sum(mass[r, c] for r, c in near)
    return tuple(int(sum(mass[p] * (p[axis] + 0.5) for p in near) / total * 4) for axis in (0, 1))


def slow_game(heat, mass, objects):
    points = hits = other = situations = 0
    for j in range(heat.shape[1]):
        frame = j * 2 + 1
        seen = [k for k in range(len(objects)) if objects[k, frame].any()]
        situations += bool(seen)
        for k in seen:
            y, x = divmod(int(np.argmax(heat[k, j])), heat.shape[3])
            row, column = slow_point(mass[k, j], y, x)
            on = [obj for obj in range(len(objects)) if objects[obj, frame, row, column]]
            points += 1
            hits += on == [k]
            other += bool(on) and on != [k]
    return points, hits, other, situations


@pytest.mark.parametrize("seed", range(6))
def test_matches_a_loop_over_points(seed):
    rng = np.random.default_rng(seed)
    objects, heat, mass = scene(rng), rng.normal(size=(3, 3, 4, 4)), rng.random((3, 3, 4, 4))
    objects[seed % 3, 2:4] = False  # out of view for a time
    game = PointingGame()
    game.add(heat, mass, objects, TUBELET)
    assert (game.points, game.hits, game.other, game.situations) == slow_game(heat, mass, objects)


def test_the_point_lies_between_patches_that_share_the_mass():
    down, right = centers_of_mass(np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    assert (down[0, 0], right[0, 0]) == (1.0, 1.0)
    down, right = centers_of_mass(np.zeros((2, 2)))
    assert (down[1, 0], right[1, 0]) == (1.5, 0.5)
    objects = np.zeros((1, 2, 8, 8), bool)
    objects[0, :, 3:5, 3:5] = True  # reaches no patch center but the lower right one's rim
    heat = np.array([[[[2.0, 1.0], [1.0, 1.0]]]])
    game = PointingGame()
    game.add(heat, np.ones_like(heat), objects, TUBELET)
    assert (game.hits, game.reachable) == (1, 0)


def test_metrics_of_a_pointer_that_reads_and_of_one_that_does_not():
    objects = np.zeros((2, 2, 8, 8), bool)
    objects[0, :, :4, :4] = objects[1, :, 4:, 4:] = True
    heat = np.zeros((2, 1, 2, 2))
    heat[0, 0, 0, 0] = heat[1, 0, 1, 1] = 1
    reads, blind = PointingGame(), PointingGame()
    reads.add(heat, heat, objects, TUBELET)
    blind.add(heat[[0, 0]], heat[[0, 0]], objects, TUBELET)
    assert scalars(reads.metrics()) == {
        "grounding/pointing_game": 1.0,
        "grounding/pointing_game_chance": 0.25,
        "grounding/pointing_game_phrase_blind": 0.5,
        "grounding/pointing_game_ceiling": 1.0,
        "grounding/pointing_game_other_phrase": 0.0,
        "grounding/pointing_any_object": 1.0,
    }
    metrics = scalars(blind.metrics())
    assert metrics["grounding/pointing_game"] == 0.5
    assert metrics["grounding/pointing_game_other_phrase"] == 0.5
    assert metrics["grounding/pointing_any_object"] == 1.0


def test_a_flat_heat_map_does_not_hit():
    objects = np.zeros((2, 2, 8, 8), bool)
    objects[0, :, :4] = objects[1, :, 4:] = True
    game = PointingGame()
    game.add(np.zeros((2, 1, 2, 2)), np.zeros((2, 1, 2, 2)), objects, TUBELET)
    assert (game.points, game.hits, game.other) == (2, 0, 0)


def test_tied_peaks_hit_only_together():
    objects = np.zeros((1, 2, 8, 8), bool)
    objects[0, :, :4] = True
    heat = np.array([[[[1.0, 1.0], [0.0, 0.0]]]])
    nothing = np.zeros_like(heat)  # points stay at the centers of their patches
    both, one = PointingGame(), PointingGame()
    both.add(heat, nothing, objects, TUBELET)
    one.add(heat.transpose(0, 1, 3, 2), nothing, objects, TUBELET)
    assert (both.hits, one.hits) == (1, 0)


def test_an_object_between_patch_centers_cannot_be_hit():
    objects = np.zeros((2, 2, 8, 8), bool)
    objects[0, :, :2, :2] = True  # a corner of a patch
    objects[1, :, 4:, 4:] = True
    game = PointingGame()
    heat = np.arange(4.0).reshape(1, 1, 2, 2).repeat(2, 0)
    game.add(heat, np.zeros_like(heat), objects, TUBELET)
    assert (game.points, game.reachable, game.hits) == (2, 1, 1)


def test_an_invisible_object_is_not_asked_for():
    objects = np.zeros((2, 4, 8, 8), bool)
    objects[0, :, :4, :4] = True
    objects[1, 0] = True  # in the first tubelet, and not in its middle frame
    game = PointingGame()
    game.add(np.ones((2, 2, 2, 2)), np.ones((2, 2, 2, 2)), objects, TUBELET)
    assert (game.points, game.situations) == (2, 2)


def test_centers_come_from_the_middle_frame():
    masks = np.zeros((1, 4, 8, 8), bool)
    masks[0, 3, 6, 2] = True
    assert np.argwhere(at_patch_centers(masks, TUBELET)).tolist() == [[0, 1, 1, 0]]


def test_bad_shapes_nan_and_nothing_to_point_at_are_errors():
    game = PointingGame()
    with pytest.raises(ValueError, match="no object is visible in any clip"):
        game.metrics()
    with pytest.raises(ValueError, match="multiples"):
        game.add(*[np.zeros((1, 1, 2, 2))] * 2, np.zeros((1, 2, 9, 8), bool), TUBELET)
    with pytest.raises(ValueError, match="expected the same"):
        game.add(*[np.zeros((1, 2, 2, 2))] * 2, np.zeros((1, 2, 8, 8), bool), TUBELET)
    with pytest.raises(ValueError, match="NaN"):
        game.add(*[np.full((1, 1, 2, 2), np.nan)] * 2, np.zeros((1, 2, 8, 8), bool), TUBELET)
