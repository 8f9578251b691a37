"""Tests of training curves: read as logged, and grouped in panels."""

import json

import numpy as np
import pytest

from svilm_jax.evaluation import Metric, Unit
from svilm_jax.report import curves


def write(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_steps_are_sorted_and_the_later_of_two_values_counts(tmp_path):
    path = write(
        tmp_path / "metrics.jsonl",
        {"step": 10, "time": 1, "loss/total": 3.0},
        {"step": 20, "time": 2, "loss/total": 2.0, "norm/gradient": 1.0},
        {"step": 30, "time": 3, "loss/total": 9.0},
        {"step": 20, "time": 4, "loss/total": 2.5},
        {"step": 30, "time": 5, "loss/total": 1.5},
    )
    found, bad = curves.read_curves(path)
    assert bad == 0
    assert set(found) == {"loss/total", "norm/gradient"}
    assert found["loss/total"][0].tolist() == [10, 20, 30]
    assert found["loss/total"][1].tolist() == [3.0, 2.5, 1.5]


def test_half_a_line_and_other_rubbish_are_counted(tmp_path):
    path = write(
        tmp_path / "metrics.jsonl", {"step": 1, "loss": 1.0}, "[1, 2]", '{"loss": 1.0}', "", '{"step": 2, "loss": 0.'
    )
    found, bad = curves.read_curves(path)
    assert bad == 3
    assert found["loss"][0].tolist() == [1]


def test_nan_is_kept_and_text_is_not(tmp_path):
    path = write(tmp_path / "metrics.jsonl", '{"step": 1, "loss": NaN, "note": "x", "on": true}')
    found, _ = curves.read_curves(path)
    assert np.isnan(found["loss"][1]).all()
    assert list(found) == ["loss"]


def test_panels_hold_what_belongs_together():
    line = (np.array([1, 2]), np.array([1.0, 2.0]))
    fractions = (np.array([1, 2]), np.array([0.5, 1.0]))
    one = (np.array([2]), np.array([1.0]))
    shown = curves.panels(
        {
            "norm/gradient": line,
            "loss/total": line,
            "loss/global_contrast": line,
            "learning_rate": line,
            "temporal_grouping/accuracy": line,
            "temporal_grouping/margin": line,
            "retrieval/t2v_R1": fractions,
            "retrieval/t2v_R1_chance": fractions,
            "retrieval/t2v_MedR": fractions,
            "grounding/mean_iou": one,
            "alright": line,
        },
        ("retrieval", "grounding"),
        [
            Metric("retrieval/t2v_R1", 1.0, Unit.FRACTION, baselines={"chance": 0.5}),
            Metric("retrieval/t2v_MedR", 1.0, Unit.RANK),
        ],
    )
    assert [(title, sorted(lines)) for title, lines, _ in shown] == [
        ("losses", ["loss/global_contrast", "loss/total"]),
        ("gradient, parameter and update norms", ["norm/gradient"]),
        ("learning rate", ["learning_rate"]),
        ("temporal_grouping", ["temporal_grouping/accuracy", "temporal_grouping/margin"]),
        ("alright", ["alright"]),
        ("evaluation: retrieval", ["retrieval/t2v_R1", "retrieval/t2v_R1_chance"]),
    ]


def test_an_unfinished_run_shows_evaluation_curves_between_0_and_1():
    ranks, fractions = (np.array([1, 2]), np.array([4.0, 1.0])), (np.array([1, 2]), np.array([0.0, 1.0]))
    ((title, lines, _),) = curves.panels({"x/MedR": ranks, "x/R1": fractions}, ["x"])
    assert (title, list(lines)) == ("evaluation: x", ["x/R1"])


def test_a_figure_has_a_panel_for_each():
    line = (np.array([1, 2]), np.array([1.0, 2.0]))
    figure = curves.plot_curves({"loss/total": line, "learning_rate": line})
    assert [axes.get_title() for axes in figure.axes] == ["losses", "learning rate"]
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [1.0, 2.0])
    with pytest.raises(ValueError, match="no curves"):
        curves.plot_curves({})
