"""Tests of `svilm config`: every value with its default, grade and source."""

import json

import pytest

from svilm_jax.config import resolve
from svilm_jax.main import main
from svilm_jax.report.config_entries import entries

FILE = """from svilm_jax.config import default_config
def get_config(arg=None):
    config = default_config()
    config.train.steps = 7
    config.model.video.num_frames = 32  # the default
    config.init.checkpoint = "runs/x"
    config.init.model.video = {"num_frames": 16}
    config.objectives.temporal_grouping = {"loss": "bce"}
    config.evaluators.other = {"kind": "retrieval", "split": "val"}
    return config
"""


@pytest.fixture
def printed(tmp_path, capsys):
    """Returns the lines that the command prints for this file, key -> (value, remark)."""
    file = tmp_path / "own.py"
    file.write_text(FILE)

    def call(*arguments):
        assert main(["config", str(file), *arguments]) == 0
        lines = [line.replace(str(file), "FILE") for line in capsys.readouterr().out.splitlines()]
        found = dict(line.split(" = ", 1) for line in lines)
        assert len(found) == len(lines)
        return {key: tuple(text.split("  # ")) for key, text in found.items()}

    return call


def test_every_value_has_its_grade_and_its_source(printed):
    found = printed("--config.train.seed=3", "--config.objectives.temporal_grouping.temperature=0.1")
    expected = {
        "config.model.video.num_frames": ("32", "default [P]"),
        "config.model.video.image_size": ("224", "default [A]"),
        "config.train.steps": ("7", "FILE; default 0 [C]"),
        "config.train.seed": ("3", "command line; default 0 [C]"),
        "config.init.model.video.num_frames": ("16", "FILE"),
        "config.objectives.temporal_grouping.loss": ("'bce'", "FILE; default 'mse' [P]"),
        "config.objectives.temporal_grouping.weight": ("1.0", "default [P]"),
        "config.objectives.temporal_grouping.temperature": ("0.1", "command line; default 0.1 [C]"),
        "config.evaluators.other.kind": ("'retrieval'", "FILE"),
        "config.evaluators.other.split": ("'val'", "FILE; default 'test' [C]"),
        "config.evaluators.other.limit": ("0", "default [C]"),
    }
    assert {key: found.get(key) for key in expected} == expected
    assert "config.objectives.global_contrast.weight" not in found


def test_only_changed_values(printed):
    found = printed("--changed", "--config.evaluators.grounding.limit=5", "--config.train.log_every=50")
    assert list(found) == [
        "config.init.checkpoint",
        "config.init.model.video.num_frames",
        "config.train.steps",
        "config.train.log_every",  # set on the command line, to its default
        "config.objectives.temporal_grouping.loss",
        "config.evaluators.other.kind",
        "config.evaluators.other.split",
        "config.evaluators.grounding.limit",
    ]


def test_json_holds_the_same(capsys):
    assert main(["config", "pretrain/demo", "--json", "--config.train.steps=9"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["config.train.steps"] == {"value": 9, "default": 0, "grade": "C", "source": "command line"}
    assert found["config.model.grouping.num_groups"] == {
        "value": 8,
        "default": 32,
        "grade": "P",
        "source": "pretrain/demo",
    }
    assert found["config.objectives.spatial_grounding.chunk"]["source"] == "default"


def test_a_mistake_is_one_line(capsys):
    assert main(["config", "pretrain/demo", "--config.trian.steps=3"]) == 2
    assert capsys.readouterr().err.startswith("svilm config: config.trian: no such key; did you mean 'train'?")


def test_every_field_without_a_table_has_a_default_and_a_grade():
    assert all(entry.grade is not None and entry.value == entry.default for entry in entries(resolve({})))
