"""Tests of localization label maps against loops over steps, anchors and segments; of resizing against np.interp."""

import numpy as np
import pytest

from svilm_jax.input.segments import boundary_targets, iou_map, localization_targets, resize_features, step_classes


def overlap(a, b, c, d):
    return max(0.0, min(b, d) - max(a, c))


def slow_targets(segments, duration, steps, width, ratio):
    """start, end, iou written out; segments as they are annotated."""
    step = duration / steps
    kept = [(max(a, 0), min(b, duration)) for a, b in segments]
    kept = [(a, b) for a, b in kept if b > a]
    start, end, iou = np.zeros(steps), np.zeros(steps), np.zeros((steps, steps))
    for t in range(steps):
        for a, b in kept:
            half = max(width * step, ratio * (b - a)) / 2
            start[t] = max(start[t], overlap((t - 0.5) * step, (t + 0.5) * step, a - half, a + half) / step)
            end[t] = max(end[t], overlap((t + 0.5) * step, (t + 1.5) * step, b - half, b + half) / step)
        for d in range(steps - t):
            for a, b in kept:
                shared = overlap(t * step, (t + d + 1) * step, a, b)
                iou[t, d] = max(iou[t, d], shared / ((d + 1) * step + b - a - shared))
    return start, end, iou


@pytest.mark.parametrize(("width", "ratio"), [(3.0, 0.0), (1.0, 0.1), (1.0, 0.5)])
def test_maps_are_the_loops(width, ratio):
    rng = np.random.default_rng(0)
    for count in (0, 1, 4):
        segments = np.sort(rng.uniform(-5, 45, (count, 2)), axis=1)
        start, end, iou = slow_targets(segments, 37.5, 20, width, ratio)
        got = boundary_targets(segments, 37.5, 20, width=width, ratio=ratio)
        np.testing.assert_allclose(got[0], start, atol=1e-6)
        np.testing.assert_allclose(got[1], end, atol=1e-6)
        got_iou, valid = iou_map(segments, 37.5, 20)
        np.testing.assert_allclose(got_iou, iou, atol=1e-6)
        np.testing.assert_array_equal(valid, np.add.outer(np.arange(20), np.arange(20)) < 20)
        assert got_iou.dtype == got[0].dtype == np.float32


def test_a_segment_on_the_grid_has_its_own_anchor():
    """Steps 3 to 6 of 10 in 20 seconds: anchor (3, 3) fits exactly, start[3] and end[6] are full."""
    start, end = boundary_targets(np.array([[6.0, 14.0]]), 20.0, 10)
    iou, _ = iou_map(np.array([[6.0, 14.0]]), 20.0, 10)
    assert np.argwhere(iou == 1).tolist() == [[3, 3]]
    np.testing.assert_allclose(start, [0, 0, 1, 1, 1, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(end, [0, 0, 0, 0, 0, 1, 1, 1, 0, 0])


def test_the_whole_video_has_both_boundaries():
    start, end = boundary_targets(np.array([[0.0, 20.0]]), 20.0, 10)
    assert start[0] == 1
    assert end[9] == 1
    assert iou_map(np.array([[0.0, 20.0]]), 20.0, 10)[0][0, 9] == 1


@pytest.mark.parametrize("segment", [[5.0, 5.0], [25.0, 30.0], [20.0, 22.0], [-3.0, 0.0]])
def test_segments_with_nothing_inside_the_video_leave_no_trace(segment):
    made = localization_targets(np.array([segment]), np.array([2]), 20.0, 10)
    for name in ("start", "end", "iou"):
        assert not made[name].any(), name
    assert (made["step_class"] == -1).all()


def test_a_segment_beyond_the_end_is_cut():
    beyond = localization_targets(np.array([[15.0, 99.0]]), np.array([2]), 20.0, 10)
    inside = localization_targets(np.array([[15.0, 20.0]]), np.array([2]), 20.0, 10)
    for name, made in inside.items():
        np.testing.assert_array_equal(beyond[name], made)


def test_step_classes_take_the_shorter_of_two():
    segments, labels = np.array([[4.0, 8.0], [0.0, 12.0], [5.0, 5.0], [30.0, 40.0]]), np.array([7, 1, 9, 8])
    got = step_classes(segments, labels, 20.0, 10)
    np.testing.assert_array_equal(got, [1, 1, 7, 7, 1, 1, -1, -1, -1, -1])
    np.testing.assert_array_equal(step_classes(segments[::-1], labels[::-1], 20.0, 10), got)
    assert got.dtype == np.int32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: iou_map(np.array([[5.0, 3.0]]), 20.0, 10), "start not after the end"),
        (lambda: iou_map(np.array([[np.nan, 3.0]]), 20.0, 10), "finite"),
        (lambda: boundary_targets(np.zeros((0, 2)), 0.0, 10), "positive duration"),
        (lambda: step_classes(np.array([[1.0, 3.0]]), np.array([-1]), 20.0, 10), "labels"),
        (lambda: step_classes(np.array([[1.0, 3.0]]), np.array([1, 2]), 20.0, 10), "labels"),
        (lambda: resize_features(np.zeros((0, 3)), 4), "at least one row"),
        (lambda: resize_features(np.ones((2, 3)), 4, np.array([1.0, 1.0]), 3.0), "ascending"),
        (lambda: resize_features(np.ones((2, 3)), 4, np.array([1.0]), 3.0), "one each"),
        (lambda: resize_features(np.full((2, 3), np.inf), 4), "not finite"),
        (lambda: resize_features(np.ones((2, 3)), 0), "0 steps"),
    ],
)
def test_what_cannot_be_read_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("count", [1, 2, 5, 10, 33])
def test_resizing_is_np_interp_column_by_column(count):
    rng = np.random.default_rng(count)
    features = rng.normal(size=(count, 4)).astype(np.float32)
    uneven = np.sort(rng.uniform(0, 12, count))
    wanted = (np.arange(10) + 0.5) * 12 / 10
    for times, known in ((None, (np.arange(count) + 0.5) * 12 / count), (uneven, uneven)):
        got = resize_features(features, 10, times, 12.0)
        expected = np.stack([np.interp(wanted, known, column) for column in features.T], axis=1)
        np.testing.assert_allclose(got, expected, atol=1e-5)
        assert got.dtype == np.float32


def test_resizing_to_the_same_steps_changes_nothing_and_needs_no_duration():
    features = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    np.testing.assert_allclose(resize_features(features, 7), features, atol=1e-6)
    np.testing.assert_allclose(resize_features(features, 5), resize_features(features, 5, duration=300.0), atol=1e-5)
