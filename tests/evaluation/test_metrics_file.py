"""Tests of metrics.json: flat scalars for scripts, and the records that are read back."""

import json

import pytest

from svilm_jax.evaluation import Metric, Unit
from svilm_jax.evaluation.metrics_file import MetricsFileError, read_metrics, read_scalars, write_metrics

METRICS = [
    Metric("retrieval/t2v_R1", 0.1 + 0.2, Unit.FRACTION, "recall at 1", True, {"chance": 0.005}),
    Metric("retrieval/t2v_MedR", 2.0, Unit.RANK, higher_is_better=False),
    Metric("train/steps", 6, Unit.STEPS),
]


def test_records_are_read_back_and_scalars_are_flat(tmp_path):
    file = tmp_path / "run" / "metrics.json"
    write_metrics(file, METRICS)
    assert read_metrics(file) == METRICS
    document = json.loads(file.read_text())
    assert [record["unit"] for record in document.pop("records")] == ["fraction", "rank", "steps"]
    assert document == read_scalars(file)
    assert document == {
        "retrieval/t2v_R1": 0.1 + 0.2,
        "retrieval/t2v_R1_chance": 0.005,
        "retrieval/t2v_MedR": 2.0,
        "train/steps": 6,
    }


def test_scalars_without_records_are_metrics_without_unit(tmp_path):
    (tmp_path / "metrics.json").write_text('{"score": 1}')
    assert read_metrics(tmp_path / "metrics.json") == [Metric("score", 1.0)]
    assert read_metrics(tmp_path / "missing.json") == []


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[1]",
        '{"a": "b"}',
        '{"a": {"b": 1}}',
        '{"records": 1}',
        '{"records": [1]}',
        '{"records": [{"name": "a", "value": 1}]}',
        '{"records": [{"name": "a", "value": 1, "unit": "percent"}]}',
        '{"records": [{"name": 1, "value": 1, "unit": "rank"}]}',
        '{"records": [{"name": "a", "value": "1", "unit": "rank"}]}',
        '{"records": [{"name": "a", "value": 1, "unit": "rank", "other": 1}]}',
        '{"records": [{"name": "a", "value": 1, "unit": "rank", "baselines": {"chance": null}}]}',
    ],
)
def test_another_content_is_an_error_that_names_the_remedy(tmp_path, content):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(MetricsFileError, match=r"metrics\.json.*svilm eval"):
        read_metrics(tmp_path / "metrics.json")
