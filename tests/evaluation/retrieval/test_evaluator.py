"""Tests of the retrieval evaluators with a model that reads colors."""

import dataclasses

import numpy as np
import pytest

from svilm_jax.config import ConfigError
from svilm_jax.evaluation.clips import EvaluationClips, EvaluationError
from svilm_jax.evaluation.metric import scalars
from svilm_jax.evaluation.registry import build_evaluators
from svilm_jax.evaluation.retrieval.dual_softmax import dual_softmax
from svilm_jax.evaluation.retrieval.evaluator import (
    HardRetrievalEvaluator,
    HardRetrievalOptions,
    RetrievalEvaluator,
    RetrievalOptions,
    encode_gallery,
)
from svilm_jax.evaluation.retrieval.metrics import pessimistic_ranks, recall_metrics
from svilm_jax.inference.encoder import Encoder
from svilm_jax.input.records import DatasetError
from svilm_jax.input.schema import Caption
from tests.evaluation import colored_squares as world


def run(encoder, **options):
    return scalars(RetrievalEvaluator(RetrievalOptions(**options), encoder.config).run(encoder))


def test_colors_find_clips_of_different_colors(encoder):
    metrics = run(encoder)
    for direction in ("t2v", "v2t"):
        for k in (1, 5, 10):
            assert metrics[f"retrieval/{direction}_R{k}"] == 1.0
        assert metrics[f"retrieval/{direction}_MedR"] == 1.0
        assert metrics[f"retrieval/{direction}_R1_chance"] == pytest.approx(1 / 4)
    assert metrics["retrieval/t2v_R1_oracle_colors"] == metrics["retrieval/t2v_R1_oracle"] == 1.0


def test_a_clip_that_does_not_decode_is_left_out_and_counted(encoder, caplog):
    assert run(encoder)["retrieval/failed_fraction"] == pytest.approx(1 / 5)
    assert "bro" in caplog.text


def test_look_alikes_are_not_found_by_color(encoder):
    metrics = scalars(HardRetrievalEvaluator(HardRetrievalOptions(), encoder.config).run(encoder))
    # Set 0 is two clips of one color: a tie, against the model. Set 1 is a red and a blue one. One has a single clip.
    assert metrics == {
        "retrieval_hard/t2v_R1": 0.5,
        "retrieval_hard/t2v_R1_chance": 0.5,
        "retrieval_hard/v2t_R1": 0.5,
        "retrieval_hard/v2t_R1_chance": 0.5,
        "retrieval_hard/t2v_R1_oracle_colors": 0.75,
        "retrieval_hard/t2v_R1_oracle": 0.75,
        "retrieval_hard/failed_fraction": 0.0,
    }


def test_limit_and_prefix(encoder):
    metrics = run(encoder, limit=3, prefix="val")
    assert metrics["val/t2v_R1_chance"] == pytest.approx(1 / 2)


def test_a_split_without_captions_or_groups_says_so(encoder):
    with pytest.raises(EvaluationError, match="'plain'.*caption"):
        run(encoder, split="plain")
    with pytest.raises(EvaluationError, match="no two clips share a group"):
        scalars(HardRetrievalEvaluator(HardRetrievalOptions(split="test"), encoder.config).run(encoder))


def test_a_missing_split_is_an_error_before_anything_runs(squares):
    with pytest.raises(DatasetError, match="hard_test"):
        RetrievalEvaluator(RetrievalOptions(split="hard_tst"), world.make_config(squares))


def told(name, color, *captions, broken=False):
    clip = world.record(name, (color, 0, 0), broken=broken)
    return dataclasses.replace(clip, captions=tuple(Caption(text, (), *times) for text, *times in captions))


@pytest.fixture(scope="module")
def stories(tmp_path_factory, squares_tokenizer):
    """Clips of several sentences each, some timed, and the encoder for them."""
    clips = [
        told("r", "red", ("a red square", 0.0, 1.0), ("a blue square", 1.0, 2.0), ("red red", 1.0, 2.0)),
        told("lost", "yellow", ("a yellow square", 0.0, 1.0), broken=True),
        told("b", "blue", ("a red square", 0.0, 1.0), ("blue blue", 1.0, 2.0), ("a blue square", 1.0, 2.0)),
        told("silent", "green"),
        told("y", "yellow", ("a yellow square",), ("a green square", 0.0, 1.0)),  # the first is of the whole clip
    ]
    # By cosine both captions find the red clip; by dual softmax that clip belongs to the first.
    hub = [told("r", "red", ("a red square",)), told("b", "blue", ("red red blue",))]
    dataset = world.write_dataset(tmp_path_factory.mktemp("stories"), {"test": clips, "hub": hub})
    config = world.make_config(dataset)
    return Encoder(world.ColorReader(), config, squares_tokenizer, batch_size=2)


def unit(*colors):
    """The embedding of a text of these colors, as `ColorReader` counts them."""
    index = [list(world.PALETTE).index(color) for color in colors]
    counts = np.bincount(index, minlength=len(world.PALETTE))
    return counts / np.linalg.norm(counts)


BY_HAND = {
    "none": (
        [unit("red"), unit("blue"), unit("red"), unit("red"), unit("blue"), unit("blue"), unit("yellow")],
        [0, 0, 0, 1, 1, 1, 2],
    ),
    "sentences": (
        [2 * unit("red") + unit("blue"), unit("red") + 2 * unit("blue"), unit("yellow")],
        [0, 1, 2],
    ),
    "joined": ([unit("red", "red", "red", "blue"), unit("red", "blue", "blue", "blue"), unit("yellow")], [0, 1, 2]),
}


@pytest.mark.parametrize("paragraph", BY_HAND)
def test_paragraphs_are_embedded_as_by_hand(stories, paragraph):
    clips = EvaluationClips(stories.config.input.dataset, "test", 0, stories.config.model.video)
    gallery = encode_gallery(stories, clips, clips.numbers, paragraph)
    expected, owner = BY_HAND[paragraph]
    np.testing.assert_allclose(gallery.text, [row / np.linalg.norm(row) for row in expected], atol=1e-4)
    assert gallery.owner.tolist() == owner
    assert [record.id for record in gallery.records] == ["r", "b", "y"]
    assert len(gallery.captions) == len(owner)


@pytest.mark.parametrize(("paragraph", "recall"), [("none", 5 / 7), ("sentences", 1.0), ("joined", 1.0)])
def test_a_paragraph_finds_what_its_sentences_do_not(stories, paragraph, recall):
    # "a blue square" of the red clip finds the blue one, and the other way round.
    assert run(stories, paragraph=paragraph)["retrieval/t2v_R1"] == pytest.approx(recall)


def test_dual_softmax_adds_rows_and_says_that_they_are_transductive(stories):
    plain, both = run(stories, split="hub"), run(stories, split="hub", dual_softmax=0.05)
    assert plain.items() < both.items()
    assert all("/transductive_" in name for name in both.keys() - plain.keys())
    clips = EvaluationClips(stories.config.input.dataset, "hub", 0, stories.config.model.video)
    gallery = encode_gallery(stories, clips, clips.numbers)
    for way, similarity, positives in (
        ("t2v", gallery.similarity, gallery.positives),
        ("v2t", gallery.similarity.T, gallery.positives.T),
    ):
        ranks = pessimistic_ranks(dual_softmax(similarity, 0.05), positives)
        for name, value in recall_metrics(ranks).items():
            assert both[f"retrieval/transductive_{way}_{name}"] == pytest.approx(value)
        assert both[f"retrieval/transductive_{way}_R1_chance"] == plain[f"retrieval/{way}_R1_chance"]
    assert both["retrieval/t2v_R1"] == 0.5
    assert both["retrieval/transductive_t2v_R1"] == 1.0


@pytest.mark.parametrize("option", [{"paragraph": "joined"}, {"dual_softmax": 0.1}])
def test_options_that_look_alike_sets_do_not_have_are_refused(squares, option):
    with pytest.raises(ConfigError, match=f"config.evaluators.x.{next(iter(option))}: no such key"):
        build_evaluators(world.make_config(squares, x={"kind": "retrieval_hard", **option}))
