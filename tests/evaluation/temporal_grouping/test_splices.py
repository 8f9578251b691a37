"""Tests of evaluation splices: reproducible, within legal spans, and aligned with tubelets."""

import collections

import numpy as np
import pytest

from svilm_jax.input import splicing
from svilm_jax.input.splicing import legal_spans


def test_draws_depend_on_seed_and_index_only():
    first = [splicing.draw_span(i, 8, seed=0) for i in range(50)]
    assert first == [splicing.draw_span(i, 8, seed=0) for i in range(50)]
    assert first != [splicing.draw_span(i, 8, seed=1) for i in range(50)]


def test_draws_cover_all_legal_spans_and_durations_evenly():
    drawn = collections.Counter(splicing.draw_span(i, 8, seed=0) for i in range(3000))
    assert set(drawn) == set(legal_spans(8))
    durations = collections.Counter()
    for (start, end), count in drawn.items():
        durations[end - start] += count
    assert all(abs(durations[d] / 3000 - 1 / 3) < 0.04 for d in (5, 6, 7))


@pytest.mark.parametrize("tubelets", [3, 5, 8])
def test_weights_of_spans_are_the_probabilities_of_the_draw(tubelets):
    spans, weights = zip(*splicing.weighted_spans(tubelets), strict=True)
    assert list(spans) == legal_spans(tubelets)
    drawn = collections.Counter(splicing.draw_span(i, tubelets, seed=0) for i in range(4000))
    assert sum(weights) == pytest.approx(1)
    for span, weight in zip(spans, weights, strict=True):
        assert drawn[span] / 4000 == pytest.approx(weight, abs=4 * (weight / 4000) ** 0.5)


def test_frames_come_from_the_right_clip_at_the_right_time():
    front = np.arange(8, dtype=np.uint8)[:, None, None, None] + np.zeros((8, 2, 2, 3), np.uint8)
    back = front + 100
    spliced = splicing.splice_pair(front, back, (1, 3), 2)
    assert spliced.frames[:, 0, 0, 0].tolist() == [100, 101, 2, 3, 4, 5, 106, 107]
    assert spliced.tubelets == 4
    assert back[2, 0, 0, 0] == 102, "the background clip itself must not change"


def test_clips_of_other_sizes_and_split_tubelets_are_refused():
    with pytest.raises(ValueError, match="cannot splice"):
        splicing.splice_pair(np.zeros((8, 2, 2, 3)), np.zeros((8, 2, 4, 3)), (1, 3), 2)
    with pytest.raises(ValueError, match="multiple of 3"):
        splicing.splice_pair(np.zeros((8, 2, 2, 3)), np.zeros((8, 2, 2, 3)), (1, 2), 3)
