"""Tests of the grid language, against expansions written by hand."""

import pytest

from svilm_jax.config import ConfigError
from svilm_jax.sweeps import hyper


def test_a_product_varies_the_last_sweep_fastest():
    assert hyper.product([hyper.sweep("a", [1, 2]), hyper.sweep("b", ["x", "y"])]) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]


def test_a_product_of_nothing_is_one_trial_without_changes():
    assert hyper.product([]) == [{}]
    assert hyper.product([hyper.sweep("a", [])]) == []


def test_zipit_pairs_and_chainit_appends():
    a, b = hyper.sweep("a", [1, 2]), hyper.sweep("b", [(1, 2), (3,)])
    assert hyper.zipit([a, b]) == [{"a": 1, "b": (1, 2)}, {"a": 2, "b": (3,)}]
    assert hyper.chainit([a, b]) == [{"a": 1}, {"a": 2}, {"b": (1, 2)}, {"b": (3,)}]
    assert hyper.zipit([a, hyper.fixed("c", False, length=2)]) == [{"a": 1, "c": False}, {"a": 2, "c": False}]


def test_nested_as_in_the_configs_of_vision_transformers():
    def setting(rate, *sizes):
        return hyper.product([hyper.fixed("config.lr", rate, length=1), hyper.sweep("config.size", sizes)])

    found = hyper.product([hyper.chainit([setting(0.1, 1, 2), setting(0.2, 3)]), hyper.sweep("config.seed", range(2))])
    assert [tuple(trial.values()) for trial in found] == [
        (0.1, 1, 0),
        (0.1, 1, 1),
        (0.1, 2, 0),
        (0.1, 2, 1),
        (0.2, 3, 0),
        (0.2, 3, 1),
    ]


def test_a_subsample_keeps_the_order_and_depends_on_its_seed():
    grid = hyper.product([hyper.sweep("a", range(10)), hyper.sweep("b", range(10))])
    drawn = hyper.subsample(grid, 7, seed=3)
    assert len(drawn) == 7
    assert drawn == [trial for trial in grid if trial in drawn] == hyper.subsample(grid, 7, seed=3)
    assert drawn != hyper.subsample(grid, 7, seed=4)
    assert hyper.subsample(grid, 1000) == grid


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hyper.product([hyper.sweep("a", [1]), hyper.sweep("a", [2])]), "two sweeps change a"),
        (lambda: hyper.zipit([hyper.sweep("a", [1]), hyper.sweep("b", [1, 2])]), "sweeps of 1, 2 trials"),
        (lambda: hyper.sweep("a", "words"), "expected a list of values"),
        (lambda: hyper.sweep("a", 3), "expected a list of values"),
        (lambda: hyper.product([{"a": 1}]), "is not a sweep"),
        (lambda: hyper.chainit([["a"]]), "is not a trial"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
