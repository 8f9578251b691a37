"""Tests of metric records: their scalars, and what an evaluator may report."""

import pytest

from svilm_jax.evaluation import Metric, Unit
from svilm_jax.evaluation.metric import as_metric, scalars

RECALL = Metric("retrieval/t2v_R1", 0.75, Unit.FRACTION, baselines={"chance": 0.005, "oracle_colors": 0.2})


def test_a_baseline_is_a_scalar_named_after_its_metric():
    assert list(scalars([RECALL, ("x", 2)]).items()) == [
        ("retrieval/t2v_R1", 0.75),
        ("retrieval/t2v_R1_chance", 0.005),
        ("retrieval/t2v_R1_oracle_colors", 0.2),
        ("x", 2.0),
    ]


def test_a_label_is_by_default_the_words_of_the_name():
    assert (RECALL.label, Metric("answering/top_1", 0.5).label, Metric("x", 1.0).label) == ("t2v R1", "top 1", "x")
    assert Metric("retrieval/t2v_R1", 0.5, label="recall at 1").label == "recall at 1"


def test_a_name_and_a_value_are_a_metric_without_unit():
    assert as_metric(("a/b", 1)) == Metric("a/b", 1.0, Unit.NUMBER)
    assert as_metric(RECALL) is RECALL
    for wrong in (0.5, ("a", 0.5, 1.0), (1, 0.5)):
        with pytest.raises(TypeError, match=r"expected a Metric, or a tuple \(name, value\)"):
            as_metric(wrong)


def test_names_are_unique_also_among_baselines():
    with pytest.raises(ValueError, match=r"retrieval/t2v_R1_chance.* reported twice"):
        scalars([RECALL, ("retrieval/t2v_R1_chance", 0.5)])


def test_a_baseline_that_is_not_finite_is_named():
    with pytest.raises(ValueError, match=r"a_chance.* not finite"):
        scalars([Metric("a", 0.5, baselines={"chance": float("nan")})])
