"""Tests of the metric table: every baseline is shown with its metric."""

from svilm_jax.evaluation.table import format_table, format_value, with_baselines

METRICS = {
    "retrieval/t2v_R1": 0.75,
    "retrieval/t2v_R10": 0.99,
    "retrieval/t2v_R1_chance": 0.005,
    "retrieval/t2v_R1_oracle": 0.4,
    "retrieval/t2v_R1_oracle_colors": 0.2,
    "retrieval/t2v_MedR": 1.0,
    "grouping/tubelet_accuracy": 0.9,
    "grouping/tubelet_accuracy_ordinary": 0.95,
    "grouping/tubelet_accuracy_raw_pixels": 0.8,
    "grouping/tubelet_accuracy_ordinary_raw_pixels": 1.0,
    "lonely_chance": 0.5,
}


def test_baselines_are_grouped_under_their_metric():
    assert with_baselines(METRICS) == {
        "retrieval/t2v_R1": {"chance": 0.005, "colors + background": 0.4, "colors": 0.2},
        "retrieval/t2v_R10": {},
        "retrieval/t2v_MedR": {},
        "grouping/tubelet_accuracy": {"raw pixels": 0.8},
        "grouping/tubelet_accuracy_ordinary": {"raw pixels": 1.0},
        "lonely_chance": {},
    }


def test_the_table_is_one_line_a_metric():
    lines = format_table(METRICS).splitlines()
    assert lines[0].startswith("retrieval/t2v_R1 ")
    assert lines[0].endswith("75.0 %  (chance 0.5 %, colors + background 40.0 %, colors 20.0 %)")
    assert lines[2].startswith("retrieval/t2v_MedR ")
    assert lines[2].endswith(" 1.0")
    assert len(lines) == 6
    assert format_table({}) == "no metrics"


def test_shares_are_percentages_and_the_rest_are_numbers():
    assert format_value("grounding/mean_iou", 0.1234) == "12.3 %"
    assert format_value("grounding/groups_used", 4.56) == "4.6"
    assert format_value("retrieval/t2v_MedR_chance", 100.5) == "100.5"
    assert format_value("retrieval/t2v_MeanR", 12.25) == "12.2"
    assert format_value("train/steps", 450.0) == "450"
    assert format_value("probe/penalty", 1e-6) == "1e-06"
    assert format_value("probe/penalty", 10.0) == "10"
