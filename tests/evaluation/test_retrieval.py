"""Do the retrieval evaluators give what a reader of colours must get, and no more?"""

import colored_squares as world
import pytest

from svilm_jax.evaluation.clips import EvaluationError
from svilm_jax.evaluation.retrieval import HardRetrieval, HardRetrievalOptions, Retrieval, RetrievalOptions
from svilm_jax.input.records import DatasetError


def run(encoder, **options):
    return dict(Retrieval(RetrievalOptions(**options), encoder.config).run(encoder))


def test_colors_find_clips_of_different_colors(encoder):
    metrics = run(encoder)
    for direction in ("t2v", "v2t"):
        for k in (1, 5, 10):
            assert metrics[f"retrieval/{direction}_R{k}"] == 1.0
        assert metrics[f"retrieval/{direction}_MedR"] == 1.0
        assert metrics[f"retrieval/{direction}_R1_chance"] == pytest.approx(1 / 4)
    assert metrics["retrieval/t2v_R1_oracle_colors"] == metrics["retrieval/t2v_R1_oracle"] == 1.0


def test_a_clip_that_does_not_decode_is_left_out_and_counted(encoder, caplog):
    assert run(encoder)["retrieval/failed_share"] == pytest.approx(1 / 5)
    assert "bro" in caplog.text


def test_look_alikes_are_not_found_by_color(encoder):
    metrics = dict(HardRetrieval(HardRetrievalOptions(), encoder.config).run(encoder))
    # Set 0 is two clips of one colour: a tie, against the model. Set 1 is a red and a blue one. One has a single clip.
    assert metrics == {
        "retrieval_hard/t2v_R1": 0.5,
        "retrieval_hard/t2v_R1_chance": 0.5,
        "retrieval_hard/v2t_R1": 0.5,
        "retrieval_hard/v2t_R1_chance": 0.5,
        "retrieval_hard/t2v_R1_oracle_colors": 0.75,
        "retrieval_hard/t2v_R1_oracle": 0.75,
        "retrieval_hard/failed_share": 0.0,
    }


def test_limit_and_prefix(encoder):
    metrics = run(encoder, limit=3, prefix="val")
    assert metrics["val/t2v_R1_chance"] == pytest.approx(1 / 2)


def test_a_split_without_captions_or_groups_says_so(encoder):
    with pytest.raises(EvaluationError, match="'plain'.*caption"):
        run(encoder, split="plain")
    with pytest.raises(EvaluationError, match="no two clips share a group"):
        dict(HardRetrieval(HardRetrievalOptions(split="test"), encoder.config).run(encoder))


def test_a_missing_split_is_an_error_before_anything_runs(squares):
    with pytest.raises(DatasetError, match="hard_test"):
        Retrieval(RetrievalOptions(split="hard_tst"), world.make_config(squares))
