"""Tests of the sweeps that a config file defines."""

import types

import pytest

from svilm_jax.config import ConfigError
from svilm_jax.sweeps.definition import expand, split_argument, sweep_names


def module(**functions):
    return types.SimpleNamespace(**functions)


def rates():
    yield {"optimizer.learning_rate": 1e-3}
    yield {"config.optimizer.learning_rate": 1e-4, "train.steps": 7}


def seeds():
    return [{"train.seed": seed} for seed in range(2)]


def test_named_sweeps_are_multiplied_in_the_given_order():
    file = module(sweep_lr=rates, sweep_seed=seeds)
    assert sweep_names(file) == ["lr", "seed"]
    assert expand(file, ["lr", "seed"]) == [
        {"optimizer.learning_rate": 1e-3, "train.seed": 0},
        {"optimizer.learning_rate": 1e-3, "train.seed": 1},
        {"optimizer.learning_rate": 1e-4, "train.steps": 7, "train.seed": 0},
        {"optimizer.learning_rate": 1e-4, "train.steps": 7, "train.seed": 1},
    ]
    assert [trial["train.seed"] for trial in expand(file, ["seed", "lr"])] == [0, 0, 1, 1]


def test_without_a_name_sweep_or_get_hyper_is_used():
    assert expand(module(sweep=seeds)) == seeds()
    assert expand(module(get_hyper=lambda hyper: hyper.sweep("config.train.seed", [0, 1]))) == seeds()


@pytest.mark.parametrize(
    ("functions", "names", "message"),
    [
        ({}, (), "defines no function sweep.*add `def sweep"),
        ({"sweep_lr": rates}, (), "name one of its sweeps with --sweep: lr"),
        ({"sweep_lr": rates}, ("lrs",), r"no function sweep_lrs\(\); did you mean 'lr'"),
        ({"sweep_lr": rates}, ("lr", "lr"), "lr is named twice"),
        ({"sweep_lr": rates, "sweep_all": rates}, ("lr", "all"), "two sweeps change optimizer.learning_rate"),
        ({"sweep": seeds, "get_hyper": lambda hyper: []}, (), "defines both"),
        ({"sweep": lambda: None}, (), "returned None"),
        ({"sweep": lambda: [3]}, (), "yields 3, expected a dict"),
        ({"sweep": lambda: [{3: 4}]}, (), "yields the key 3"),
        ({"sweep": lambda: [{"train..seed": 4}]}, (), "yields the key 'train..seed'"),
        ({"sweep": lambda: [{"train.seed": 4, "config.train.seed": 5}]}, (), "yields train.seed twice"),
        ({"sweep": lambda: []}, (), "yields no trial"),
    ],
)
def test_mistakes_are_named(functions, names, message):
    with pytest.raises(ConfigError, match=message):
        expand(module(**functions), names)


def test_arguments_of_the_config_are_swept():
    changes = {"arg.data": "msvd", "train.seed": 1, "arg.flip": True, "arg.rate": 1e-05}
    assert split_argument("file.py:steps=3", changes) == (
        "file.py:steps=3,data=msvd,flip=true,rate=1e-05",
        {"train.seed": 1},
    )
    assert split_argument("file.py", {"arg": "large"}) == ("file.py:large", {})
    assert split_argument("file.py", {}) == ("file.py", {})


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("a.py:data=x", {"arg.data": "y"}, "arg.data is swept, and --config=a.py:data=x gives it as well"),
        ("a.py:data=x", {"arg": "y"}, "gives an argument as well"),
        ("a.py", {"arg.data": "x,y"}, "text without a comma"),
        ("a.py", {"arg.data": (1, 2)}, "text without a comma"),
    ],
)
def test_arguments_that_cannot_be_swept(file, changes, message):
    with pytest.raises(ConfigError, match=message):
        split_argument(file, changes)
