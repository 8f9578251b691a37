"""Tests of the metric table: every baseline is shown with its metric."""

import pytest

from svilm_jax.evaluation import Metric, Unit, format_table
from svilm_jax.evaluation.table import format_value


def test_the_table_has_one_line_per_metric():
    lines = format_table(
        [
            Metric("retrieval/t2v_R1", 0.75, Unit.FRACTION, baselines={"chance": 0.005, "oracle_colors": 0.2}),
            Metric("retrieval/t2v_MedR", 1.0, Unit.RANK),
        ]
    ).splitlines()
    assert lines[0] == "retrieval/t2v_R1    75.0 %  (chance 0.5 %, oracle colors 20.0 %)"
    assert lines[1] == "retrieval/t2v_MedR     1.0"
    assert len(lines) == 2
    assert format_table([]) == "no metrics"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.1234, Unit.FRACTION, "12.3 %"),
        (4.56, Unit.COUNT, "4.6"),
        (100.5, Unit.RANK, "100.5"),
        (12.25, Unit.RANK, "12.2"),
        (1234567.0, Unit.STEPS, "1234567"),
        (3.7, Unit.SECONDS, "4"),
        (1e-6, Unit.NUMBER, "1e-06"),
        (10.0, Unit.NUMBER, "10"),
    ],
)
def test_fractions_are_percentages_and_the_rest_are_numbers(value, unit, text):
    assert format_value(value, unit) == text
