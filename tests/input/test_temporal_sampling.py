"""Tests of temporal sampling: times in order, inside their window, and spread over it."""

import numpy as np
import pytest

from svilm_jax.input import temporal_sampling


def test_center_times_are_the_middles_of_segments():
    assert np.allclose(temporal_sampling.center_times(4, 2.0, 4.0), [2.25, 2.75, 3.25, 3.75])


def test_jittered_times_stay_in_order_and_inside_and_evenly_apart():
    rng = np.random.default_rng(0)
    offsets = set()
    for _ in range(50):
        times = temporal_sampling.jittered_times(8, 1.0, 5.0, rng)
        assert times[0] >= 1.0
        assert times[-1] < 5.0
        assert np.allclose(np.diff(times), 0.5)  # even steps: motion keeps its speed
        offsets.add(round(float(times[0]), 3))
    assert len(offsets) > 25


def test_last_time_lies_before_the_end_of_the_window():
    assert temporal_sampling.segment_times(4, 0.0, 2.0, 1.0)[-1] < 2.0


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ((-1.0, -1.0), (0.0, 10.0)),
        ((2.0, 5.0), (2.0, 5.0)),
        ((8.0, 14.0), (8.0, 10.0)),  # ends after the video
        ((4.0, -1.0), (4.0, 10.0)),
        ((-1.0, 4.0), (0.0, 4.0)),
        ((3.0, 3.0), (2.5, 3.5)),  # no length
        ((12.0, 15.0), (9.0, 10.0)),  # outside
        ((5.0, 2.0), (4.5, 5.5)),  # ends before it starts
    ],
)
def test_window_lies_inside_the_video(stated, expected):
    assert temporal_sampling.window(10.0, *stated) == pytest.approx(expected)


def test_window_of_a_video_shorter_than_a_second():
    first, last = temporal_sampling.window(0.3, 0.1, 0.1)
    assert 0 <= first < last <= 0.3


def test_impossible_windows_are_refused():
    with pytest.raises(ValueError, match="at least one frame"):
        temporal_sampling.center_times(0, 0.0, 1.0)
    with pytest.raises(ValueError, match="start <= end"):
        temporal_sampling.center_times(2, 3.0, 1.0)
