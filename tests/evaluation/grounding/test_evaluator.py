"""Tests of the grounding evaluator with a model that reads colors."""

import dataclasses
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.config import ConfigError
from svilm_jax.evaluation.clips import EvaluationError
from svilm_jax.evaluation.grounding import evaluator
from svilm_jax.evaluation.grounding.evaluator import GroundingEvaluator, GroundingOptions
from svilm_jax.evaluation.metric import scalars
from svilm_jax.inference.encoder import Encoder
from tests.evaluation import colored_squares as world


def run(encoder, **options):
    return scalars(GroundingEvaluator(GroundingOptions(**options), encoder.config).run(encoder))


def test_a_reader_of_colors_grounds_every_phrase(encoder):
    metrics = run(encoder)
    assert metrics.pop("grounding/failed_fraction") == pytest.approx(1 / 5)
    assert metrics == {
        "grounding/pointing_game": 1.0,
        "grounding/pointing_game_chance": 0.25,
        "grounding/pointing_game_phrase_blind": 0.5,
        "grounding/pointing_game_ceiling": 1.0,
        "grounding/pointing_game_other_phrase": 0.0,
        "grounding/pointing_any_object": 1.0,
        "grounding/mean_iou": 1.0,
        "grounding/mean_iou_chance": pytest.approx(1 / 7),
        "grounding/mean_iou_phrase_blind": 0.5,
        "grounding/groups_used": 3.0,
    }


class WrongWords(world.ColorReader):
    """Takes red for green and blue for yellow, and the other way round."""

    def encode_text(self, tokens, mask):
        return super().encode_text(tokens, mask)[:, [1, 0, 3, 2, 4]]


def test_a_reader_of_wrong_colors_points_elsewhere(encoder):
    wrong = Encoder(WrongWords(), encoder.config, encoder.tokenizer, batch_size=3)
    metrics = run(wrong)
    assert metrics["grounding/pointing_game"] == metrics["grounding/mean_iou"] == 0.0
    # In two of three clips the wrong color is that of the other object.
    assert metrics["grounding/pointing_game_other_phrase"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("readout", ["assignments", "similarity_weighted"])
def test_other_readouts_agree_on_clear_pictures(encoder, readout):
    assert run(encoder, readout=readout)["grounding/pointing_game"] == 1.0


def test_heat_maps_match_a_loop():
    rng = np.random.default_rng(0)
    reading = {
        "group_embedding": rng.normal(size=(5, 4)),
        "logits": rng.normal(size=(3, 5, 2, 3, 3)),
        "assignments": rng.random((3, 5, 2, 3, 3)),
    }
    phrases = rng.normal(size=(3, 4))
    for k, block in itertools.product(range(3), (0, 1, -1)):
        similarity = [float(phrases[k] @ reading["group_embedding"][m]) for m in range(5)]
        best = int(np.argmax(similarity))
        for readout in ("logits", "assignments"):
            heat, _, matched = evaluator.heat_maps(reading, phrases, readout, 0.1, block)
            assert matched[k] == best
            np.testing.assert_array_equal(heat[k], reading[readout][block][best])
        weights = [np.exp(s / 0.1) for s in similarity]
        expected = sum(w / sum(weights) * reading["assignments"][block][m] for m, w in enumerate(weights))
        heat, _, _ = evaluator.heat_maps(reading, phrases, "similarity_weighted", 0.1, block)
        np.testing.assert_allclose(heat[k], expected)


def test_the_official_readout_follows_the_assignment():
    assert [evaluator.resolve_readout("auto", kind) for kind in ("hard", "gumbel", "soft")] == [
        "logits",
        "logits",
        "assignments",
    ]


def test_a_block_is_named_from_one_and_zero_is_the_last(encoder):
    three = dataclasses.replace(encoder.config.model.grouping, after_layers=(1, 2, 3))
    assert [evaluator.resolve_block(block, three) for block in (0, 1, 2, 3)] == [-1, 0, 1, 2]
    for block in (-1, 4):
        with pytest.raises(ConfigError, match=f"block={block}: the model has 3; expected 1 to 3, or 0 for the last"):
            evaluator.resolve_block(block, three)


class TwoBlocks(world.ColorReader):
    """Sees nothing in its first block; the second is that of its parent."""

    def encode_video(self, video, *, train=False, rng=None):
        outputs = super().encode_video(video, train=train, rng=rng)
        flat = tuple(jnp.zeros_like(a) for a in outputs.logits)
        even = tuple(jnp.full_like(a, 1 / a.shape[1]) for a in outputs.assignments)
        return dataclasses.replace(outputs, logits=(*flat, *outputs.logits), assignments=(*even, *outputs.assignments))


def test_the_block_that_is_asked_for_is_read(encoder):
    model = dataclasses.replace(encoder.config.model.grouping, after_layers=(1, 2))
    config = dataclasses.replace(encoder.config, model=dataclasses.replace(encoder.config.model, grouping=model))
    two = Encoder(TwoBlocks(), config, encoder.tokenizer)
    assert run(two, block=2)["grounding/pointing_game"] == run(two)["grounding/pointing_game"] == 1.0
    assert run(two, block=1)["grounding/pointing_game"] == 0.0


def test_the_better_block_on_another_split_is_read(encoder):
    model = dataclasses.replace(encoder.config.model.grouping, after_layers=(1, 2))
    config = dataclasses.replace(encoder.config, model=dataclasses.replace(encoder.config.model, grouping=model))
    two = Encoder(TwoBlocks(), config, encoder.tokenizer)
    metrics = run(two, block_split="twins_test")
    assert (metrics["grounding/block"], metrics["grounding/pointing_game"]) == (2.0, 1.0)
    assert "grounding/block" not in run(two)
    for wrong in ({"block_split": "test"}, {"block_split": "twins_test", "block": 1}):
        with pytest.raises(ConfigError, match="expected a split other than 'test'.* and no block in addition"):
            run(two, **wrong)


def test_a_split_without_masks_says_so(encoder):
    with pytest.raises(EvaluationError, match="masks of two objects or more"):
        run(encoder, split="plain")
