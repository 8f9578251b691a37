"""Registration of objectives, evaluators and datasets from outside the package."""

import dataclasses
import sys
import types
from importlib import metadata

import jax
import jax.numpy as jnp
import pytest
from svilm_data.annotations import registry as datasets
from svilm_data.annotations.published_dataset import DatasetSpec

from svilm_jax.cli.config_file import read_config
from svilm_jax.config import registration
from svilm_jax.evaluation import register_evaluator
from svilm_jax.evaluation import registry as evaluators
from svilm_jax.main import main
from svilm_jax.objectives import Requirement, build_objectives, register_objective
from svilm_jax.objectives import registry as objectives


@dataclasses.dataclass(frozen=True)
class ShortEmbeddings:
    """Penalizes the norm of clip embeddings."""

    weight: float = 1.0
    target: float = 0.5

    READS = ("video.embedding",)
    SPANS_BATCH = False
    NEEDS = (Requirement("splice.enabled", "whole clips: config.splice.enabled=False", (False,)),)

    def __call__(self, outputs, batch, rng):
        return jnp.abs(jnp.linalg.norm(outputs.video.embedding) - self.target), {}


@dataclasses.dataclass(frozen=True)
class ConstantOptions:
    """Options of the evaluator below."""

    value: float = 3.0


class Constant:
    """Reports a number."""

    def __init__(self, options, config):
        self.options = options

    def run(self, encoder):
        yield "constant/value", self.options.value


DATASET = DatasetSpec("dogs", "clips of dogs", "dogs.json", lambda files, args: None)


@pytest.fixture(autouse=True)
def _restored(monkeypatch):
    for module, name in ((objectives, "OBJECTIVES"), (evaluators, "EVALUATORS")):
        monkeypatch.setattr(module, name, dict(getattr(module, name)))
    monkeypatch.setattr(datasets, "_ADDED", {})


def test_a_config_file_registers_what_it_names(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from svilm_jax.config import default_config\n"
        "from svilm_jax.evaluation import register_evaluator\n"
        "from svilm_jax.objectives import register_objective\n"
        f"from {__name__} import Constant, ConstantOptions, ShortEmbeddings\n"
        "register_objective('short', ShortEmbeddings)\n"
        "register_evaluator('constant', ConstantOptions, Constant)\n"
        "def get_config():\n"
        "    config = default_config()\n"
        "    config.objectives = {'short': {'target': 0.25}}\n"
        "    config.evaluators = {'constant': {}}\n"
        "    config.splice.enabled = False\n"
        "    return config\n"
    )
    config = read_config(str(file), ["--config.objectives.short.weight=2.0", "--config.evaluators.constant.value=7"])
    built = build_objectives(config.objectives, config)
    assert built == {"short": ShortEmbeddings(2.0, 0.25)}
    outputs = types.SimpleNamespace(video=types.SimpleNamespace(embedding=jnp.zeros((1, 2))))
    assert objectives.total_loss(built, outputs, {}, jax.random.key(0))[0] == 0.5
    assert list(evaluators.build_evaluators(config)["constant"].run(None)) == [("constant/value", 7.0)]


def test_what_an_added_objective_needs_is_checked():
    register_objective("short", ShortEmbeddings)
    config = read_config("pretrain/demo", ["--config.objectives.short.weight=1"])
    with pytest.raises(ValueError, match=r"config.objectives.short needs whole clips"):
        build_objectives(config.objectives, config)


def test_an_entry_point_adds_a_dataset(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "dogs_plugin", types.ModuleType("dogs_plugin"))
    entry = metadata.EntryPoint("dogs", "dogs_plugin", "svilm_jax.plugins")
    monkeypatch.setattr(entry.__class__, "load", lambda self: datasets.register_dataset(DATASET))
    monkeypatch.setattr(metadata, "entry_points", lambda group: [entry] if group == "svilm_jax.plugins" else [])
    monkeypatch.setattr(registration, "_plugins_loaded", False)
    with pytest.raises(SystemExit) as done:
        main(["prepare", "dogs", "--help"])
    assert done.value.code == 0
    assert "Clips of dogs. Needs dogs.json" in capsys.readouterr().out


def test_plugins_are_imported_once_and_only_where_names_are_looked_up(monkeypatch, capsys):
    entry = types.SimpleNamespace(load=lambda: loaded.append(1) or objectives.objective_schema("global_contrast"))
    loaded = []
    monkeypatch.setattr(metadata, "entry_points", lambda group: [entry])
    monkeypatch.setattr(registration, "_plugins_loaded", False)
    with pytest.raises(SystemExit):
        main(["score", "--help"])
    assert loaded == []
    assert main(["config", "pretrain/demo"]) == 0
    assert main(["config", "pretrain/demo"]) == 0
    assert loaded == [1]


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (
            lambda: register_objective("global_contrast", ShortEmbeddings),
            "registered already, by .*GlobalContrast",
        ),
        (lambda: register_objective("plain", int), "a frozen dataclass with a field `weight`"),
        (lambda: register_evaluator("retrieval", ConstantOptions, Constant), "registered already"),
        (lambda: register_evaluator("plain", int, Constant), "a dataclass of options"),
        (lambda: datasets.register_dataset(dataclasses.replace(DATASET, name="msvd")), "registered already"),
    ],
)
def test_names_are_unique_and_classes_are_checked(register, message):
    with pytest.raises((TypeError, ValueError), match=message):
        register()
