"""Tests of the report's examples: consistent with evaluation, and explicit about what is missing."""

import dataclasses

import numpy as np
import pytest

from svilm_jax.evaluation import build_evaluators
from svilm_jax.evaluation.temporal_grouping.spans import read_span
from svilm_jax.report.examples import collect


@pytest.fixture(scope="module")
def examples(random_encoder, report_config):
    return collect(random_encoder, report_config, clips_each=3, worst=2)


def test_retrieval_examples_rank_as_they_claim(examples):
    kinds = [example.kind for example in examples.retrieval]
    assert kinds.count("ordinary") == 3
    assert kinds.count("hard") == 1  # the tiny dataset has one set
    assert 1 <= kinds.count("worst") <= 2
    for example in examples.retrieval:
        similarities = [clip.similarity for clip in example.clips]
        assert similarities == sorted(similarities, reverse=True)
        right = [clip.right for clip in example.clips]
        assert sum(right) == (example.rank <= 5)
        if example.rank <= 5:
            assert right.index(True) == example.rank - 1
            assert example.clips[example.rank - 1].caption == example.caption


def test_the_worst_queries_are_the_worst(examples):
    ranks = {kind: [e.rank for e in examples.retrieval if e.kind == kind] for kind in ("ordinary", "worst")}
    assert max(ranks["worst"]) >= max(ranks["ordinary"]) or max(ranks["ordinary"]) == 8


def test_grounding_examples_have_two_phrases_and_their_masks(examples):
    assert examples.grounding
    for example in examples.grounding:
        assert len(example.phrases) >= 2
        for phrase in example.phrases:
            assert phrase.heat.shape == phrase.region.shape == (4, 4, 4)
            assert phrase.mask.shape == (8, 48, 48)
            assert phrase.mask.any()


def test_splices_are_those_of_the_evaluator(examples, random_encoder, report_config):
    assert examples.twins
    task = build_evaluators(report_config)["grouping"]
    assert len(examples.splices) == len(task.clips().numbers)
    for example in examples.splices:
        np.testing.assert_allclose(np.diag(example.similarity), 1.0)
        (reading,) = random_encoder.videos([example.splice.frames], ("time_tokens",))
        assert example.predicted == read_span(reading["time_tokens"])


def test_without_evaluators_masks_and_twins_there_are_still_pictures(random_encoder, report_config):
    bare = dataclasses.replace(report_config, evaluators={})
    found = collect(random_encoder, bare, clips_each=2)
    assert not found.twins
    assert found.retrieval
    assert len(found.splices) == 4
    assert any("neighbor" in note for note in found.notes)


def test_what_cannot_be_shown_is_said(random_encoder, report_config):
    no_twins = dataclasses.replace(report_config, evaluators={"grouping": {"split": "test"}})
    found = collect(random_encoder, no_twins, clips_each=2)
    assert found.splices == []
    assert any("No splices examples: split 'test'" in note for note in found.notes)
