"""Tests of `config.input.mixture`, a table of named entries: in files, in sweeps and on the command line."""

import dataclasses
import json

import pytest

from svilm_jax.cli.config_file import read_config
from svilm_jax.config import ConfigError, MixtureEntry, default_config, resolve
from svilm_jax.config.overrides import assign
from svilm_jax.report.config_entries import entries

FILE = """from svilm_jax.config import default_config
def get_config():
    config = default_config()
    config.input.mixture = {"a": {"dataset": "x", "weight": 3}, "b": {"dataset": "y", "split": "all"}}
    return config
"""


def read(tmp_path, *overrides):
    (tmp_path / "mixed.py").write_text(FILE)
    return read_config(str(tmp_path / "mixed.py"), [f"--config.{override}" for override in overrides])


def test_entries_are_resolved_and_survive_json(tmp_path):
    config = read(tmp_path)
    assert config.input.mixture == {"a": MixtureEntry("x", weight=3.0), "b": MixtureEntry("y", "all")}
    assert resolve(json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_entries_are_set_and_added_on_the_command_line(tmp_path):
    given = ("input.mixture.a.weight=0.5", "input.mixture.c.dataset=z", "input.mixture.c.prompts=a {}")
    config = read(tmp_path, *given)
    assert config.input.mixture["a"] == MixtureEntry("x", weight=0.5)
    assert config.input.mixture["c"] == MixtureEntry("z", prompts=("a {}",))


def test_a_sweep_sets_replaces_and_removes_entries():
    tree = dataclasses.asdict(resolve({"input": {"mixture": {"a": {"dataset": "x"}, "b": {"dataset": "y"}}}}))
    values = {"input.mixture.a.weight": 2.0, "input.mixture.b": None, "input.mixture.c": {"dataset": "z"}}
    found = resolve(assign(tree, values)).input.mixture
    assert found == {"a": MixtureEntry("x", weight=2.0), "c": MixtureEntry("z")}


def test_every_field_of_an_entry_is_printed_with_its_grade(tmp_path):
    found = {entry.key: entry for entry in entries(read(tmp_path)) if entry.key.startswith("config.input.mixture")}
    assert found["config.input.mixture.a.weight"].value == 3.0
    assert found["config.input.mixture.a.weight"].default == 1.0
    assert len(found) == 2 * len(dataclasses.fields(MixtureEntry))
    empty = {entry.key: entry.value for entry in entries(resolve(default_config()))}
    assert empty["config.input.mixture"] == {}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("input.mixture.a.wieght=1", "config.input.mixture.a.wieght: no such key; did you mean 'weight'?"),
        ("input.mixture.a.weight=0", "config.input.mixture.a.weight=0"),
        ("input.mixture.a.weight=x", "config.input.mixture.a.weight='x': expected a number"),
        ("input.mixture.a=3", "config.input.mixture.a: expected config.input.mixture.NAME.KEY"),
        ("input.mixture.a.b.c=3", "config.input.mixture.a.b.c: expected config.input.mixture.NAME.KEY"),
        ("input.mixture=3", "config.input.mixture is a table"),
        ("input.mixture.c.weight=1", "config.input.mixture.c.dataset='': expected the folder"),
        ("input.split=test", "config.input.split is not used with config.input.mixture"),
        ("task=question_answering", "config.input.mixture with config.task='question_answering'"),
    ],
)
def test_mistakes_are_refused(tmp_path, override, message):
    with pytest.raises(ConfigError) as error:
        read(tmp_path, override)
    assert message in str(error.value)


@pytest.mark.parametrize("mixture", [3, {"a": 3}, {"": {"dataset": "x"}}, {"a.b": {"dataset": "x"}}, {3: {}}])
def test_tables_of_another_form_are_refused(mixture):
    with pytest.raises(ConfigError, match=r"config\.input\.mixture"):
        resolve({"input": {"mixture": mixture}})
