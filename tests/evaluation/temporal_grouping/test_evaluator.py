"""Tests of the temporal grouping evaluator: splices of twins, and span readout."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.evaluation.clips import EvaluationError
from svilm_jax.evaluation.metric import scalars
from svilm_jax.evaluation.temporal_grouping import raw_pixels
from svilm_jax.evaluation.temporal_grouping.evaluator import (
    GroupingOptions,
    TemporalGroupingEvaluator,
    score_splice,
    spliced_clips,
)
from svilm_jax.evaluation.temporal_grouping.mean_features import mean_features
from svilm_jax.evaluation.temporal_grouping.spans import tubelet_accuracy
from svilm_jax.inference.encoder import Encoder
from svilm_jax.input.splicing import legal_spans, weighted_spans
from tests.evaluation import colored_squares as world


def run(encoder, **options):
    return scalars(TemporalGroupingEvaluator(GroupingOptions(**options), encoder.config).run(encoder))


def test_a_reader_of_colors_finds_cuts_between_colors(encoder):
    metrics = run(encoder)
    assert metrics["grouping/tubelet_accuracy"] == metrics["grouping/cut_exact"] == 1.0
    assert metrics["grouping/tubelet_accuracy_raw_pixels"] == 1.0
    assert 0.5 < metrics["grouping/tubelet_accuracy_chance"] < 1.0
    assert 0.5 < metrics["grouping/tubelet_accuracy_all_foreground"] < 1.0
    assert metrics["grouping/cut_exact_chance"] == pytest.approx(1 / 9)
    assert metrics["grouping/tubelet_accuracy_index_only"] < 0.9  # a clip of one color, pasted into itself, has no cut
    assert metrics["grouping/failed_fraction"] == pytest.approx(1 / 6)


class Blind(world.ColorReader):
    """Sees the same in every clip."""

    def encode_video(self, video, *, train=False, rng=None):
        return super().encode_video(jnp.zeros_like(video))


def test_a_blind_model_is_no_better_than_a_fixed_span(encoder):
    metrics = run(Encoder(Blind(), encoder.config, encoder.tokenizer, batch_size=3))
    assert metrics["grouping/tubelet_accuracy"] < metrics["grouping/tubelet_accuracy_raw_pixels"]
    assert metrics["grouping/tubelet_accuracy_index_only"] == metrics["grouping/tubelet_accuracy"]


def test_pairs_are_spliced_both_ways_and_a_broken_twin_takes_its_pair_along(encoder):
    task = TemporalGroupingEvaluator(GroupingOptions(), encoder.config)
    clips = task.clips()
    spliced = list(spliced_clips(clips, "twin", 0, 2))
    assert len(spliced) == 4  # of three pairs
    frames = {position: clip.frames for position, clip in clips.read(clips.numbers)}
    for item, (front, back) in zip(spliced, [(0, 1), (1, 0), (4, 5), (5, 4)], strict=True):
        start, end = item.span[0] * 2, item.span[1] * 2
        np.testing.assert_array_equal(item.frames[start:end], frames[front][start:end])
        np.testing.assert_array_equal(item.frames[:start], frames[back][:start])
        np.testing.assert_array_equal(item.frames[end:], frames[back][end:])


def test_a_clip_pasted_into_itself_comes_before_its_splices(encoder):
    clips = TemporalGroupingEvaluator(GroupingOptions(), encoder.config).clips()
    found = list(spliced_clips(clips, "twin", 0, 2, with_whole=True))
    assert [item.weight for item in found] == [0.0, 1.0] * 4
    for whole, item in zip(found[::2], found[1::2], strict=True):
        start, end = item.span[0] * 2, item.span[1] * 2
        assert whole.span == (0, len(whole.frames) // 2)
        np.testing.assert_array_equal(whole.frames[start:end], item.frames[start:end])
        assert not np.array_equal(whole.frames, item.frames)


def test_all_spans_of_a_pair_weigh_as_they_would_be_drawn(encoder):
    clips = TemporalGroupingEvaluator(GroupingOptions(), encoder.config).clips()
    spliced = list(spliced_clips(clips, "twin", 0, 2, every_span=True))
    assert len(spliced) == 9 * len(list(spliced_clips(clips, "twin", 0, 2)))
    assert sum(s.weight for s in spliced) == pytest.approx(len(spliced) / 9)
    metrics = run(Encoder(Blind(), encoder.config, encoder.tokenizer), spans="all")
    # Without a look at the clip the last legal span is read: its expected accuracy by hand.
    length, last = spliced[0].tubelets, legal_spans(spliced[0].tubelets)[-1]
    expected = sum(w * tubelet_accuracy(last, span, length) for span, w in weighted_spans(length))
    assert metrics["grouping/tubelet_accuracy"] == pytest.approx(expected)
    foreground = sum(w * (span[1] - span[0]) / length for span, w in weighted_spans(length))
    assert metrics["grouping/tubelet_accuracy_all_foreground"] == pytest.approx(foreground)


def test_ordinary_partners_have_names_of_their_own(encoder):
    metrics = run(encoder, split="test", partners="next")
    assert metrics["grouping/tubelet_accuracy_ordinary"] == 1.0
    assert metrics["grouping/tubelet_accuracy_ordinary_chance"] < 1.0
    assert not metrics.keys() & run(encoder).keys()


def test_scores_of_one_splice():
    z = np.array([[0.0, 1.0]] * 2 + [[1.0, 0.0]] * 6)
    scores = score_splice({"model": z, "flat": np.ones((8, 2))}, (2, 8), "separation")
    assert (scores["accuracy/model"], scores["exact/model"]) == (1.0, 1.0)
    # Nothing to see: the last legal span, [3, 8), which is wrong about one tubelet here.
    assert (scores["accuracy/flat"], scores["exact/flat"]) == (7 / 8, 0.0)
    assert scores["accuracy/all_foreground"] == 6 / 8


class Shifted(world.ColorReader):
    """Reads colors, under something large that every clip has at a time index."""

    def encode_video(self, video, *, train=False, rng=None):
        outputs = super().encode_video(video)
        index = jax.nn.one_hot(jnp.arange(outputs.tokens.shape[1]), outputs.tokens.shape[-1])
        return dataclasses.replace(outputs, tokens=outputs.tokens + 100 * index[:, None])


def test_what_clips_have_in_common_is_taken_off(encoder):
    shifted = Encoder(Shifted(), encoder.config, encoder.tokenizer, batch_size=3)
    plain = run(shifted)["grouping/tubelet_accuracy"]
    metrics = scalars(
        TemporalGroupingEvaluator(GroupingOptions(common_clips=2), input_of(encoder.config, "test")).run(shifted)
    )
    assert metrics["grouping/tubelet_accuracy"] > 0.9 > plain
    assert metrics["grouping/tubelet_accuracy_raw_pixels"] == 1.0  # as they are


def test_the_mean_is_that_of_the_clips_that_decode(encoder):
    found = mean_features(encoder, encoder.config.input.dataset, "test", 3)  # the second of three is broken
    clips = TemporalGroupingEvaluator(GroupingOptions(split="test", partners="next"), encoder.config).clips()
    seen = [clip.frames for _, clip in clips.read([0, 2])]
    tokens = np.mean([r["time_tokens"] for r in encoder.videos(seen, ("time_tokens",))], axis=0)
    np.testing.assert_allclose(found["model"], tokens, rtol=1e-5)
    np.testing.assert_allclose(found["mean_color"], np.mean([raw_pixels.mean_color(f, 2) for f in seen], axis=0))


def input_of(config, split):
    """The config, as if it trained from another split."""
    return dataclasses.replace(config, input=dataclasses.replace(config.input, split=split))


def test_data_that_does_not_fit(encoder):
    with pytest.raises(EvaluationError, match="no two clips to splice"):
        run(encoder, split="test")
    with pytest.raises(EvaluationError, match="no pair of decodable clips"):
        run(encoder, split="test", partners="next", limit=2)
