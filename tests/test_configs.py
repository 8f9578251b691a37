"""Every config of the project: it resolves, it builds, and a change of it shows in a golden file.

After a change that is meant: SVILM_UPDATE_GOLDEN=1 python -m pytest tests/test_configs.py
"""

import dataclasses
import importlib.util
import json
import os
from pathlib import Path

import pytest

from svilm_jax.config import ConfigError, default_config, parse_arg, resolve
from svilm_jax.models.parameters import abstract_model
from svilm_jax.objectives import build_objectives

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
CONFIGS = [
    "pretrain/demo.py",
    "pretrain/demo.py:objectives=contrast",
    "pretrain/captioned_videos.py",
    "pretrain/svilm_b.py",
    "pretrain/svilm_b.py:variant=L,optimizer=adamw",
]


def read(name):
    path, _, arg = name.partition(":")
    spec = importlib.util.spec_from_file_location("config", ROOT / "configs" / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.__doc__, resolve(module.get_config(arg or None))


def test_no_config_is_missing_here():
    files = {str(path.relative_to(ROOT / "configs")) for path in (ROOT / "configs").rglob("*.py")}
    assert files == {name.partition(":")[0] for name in CONFIGS}


@pytest.mark.parametrize("name", CONFIGS)
def test_config(name):
    doc, config = read(name)
    assert {"Command:", "Hardware:", "Metric:"} <= set(doc.split())
    abstract_model(config, 1000)
    build_objectives(config.objectives, config)
    text = json.dumps(dataclasses.asdict(config), indent=1, sort_keys=True) + "\n"
    file = GOLDEN / (name.replace("/", "_").replace(":", "__").replace(".py", "").replace(",", "_") + ".json")
    if os.environ.get("SVILM_UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert file.is_file(), "no golden file: see the head of this test"
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"vidio": {}}}, "config.model.vidio: no such key; did you mean 'video'"),
        ({"train": {"steps": 1.5}}, "config.train.steps: expected a int"),
        ({"train": {"steps": True}}, "config.train.steps: expected a int"),
        ({"input": {"crop_scale": (1.0,)}}, "expected 2 values"),
        ({"input": {"prompts": "a video of {}"}}, "expected a sequence"),
        ({"objectives": []}, "expected a table"),
    ],
)
def test_mistakes_name_the_key(change, message):
    tree = default_config().to_dict()
    for key, value in change.items():
        tree[key] = {**tree[key], **value} if isinstance(value, dict) else value
    with pytest.raises(ConfigError, match=message):
        resolve(tree)


def test_arguments_of_a_config_file():
    assert parse_arg("a=3,b=false", a=1, b=True, c="x").__dict__ == {"a": 3, "b": False, "c": "x"}
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        parse_arg("step=3", steps=1)
    with pytest.raises(ConfigError, match="expected a int"):
        parse_arg("steps=many", steps=1)
