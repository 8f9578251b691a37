"""Tests of `svilm prepare moving_shapes --size SPLIT=N`: requested sizes, and sizes that cannot be generated."""

import argparse

import pytest
from svilm_data.datasets import moving_shapes
from svilm_data.datasets.moving_shapes.generator import generate
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.cli import prepare


@pytest.fixture
def sizes(monkeypatch, tmp_path):
    """Runs the command up to the preparation; returns the sizes that arrive there."""
    seen = {}
    monkeypatch.setattr(moving_shapes, "prepare", lambda out, **options: seen.update(options))

    def run(*more):
        parser = argparse.ArgumentParser()
        prepare.add_arguments(parser)
        prepare.run(parser.parse_args(["moving_shapes", "--out", str(tmp_path), *more]))
        return seen["sizes"]

    return run


def test_sizes_arrive(sizes):
    assert sizes() is None
    assert sizes("--size", "train=8") == {"train": 8}
    assert sizes("--size", "train=8", "--size", "hard_test=16", "--size", "train=4") == {"train": 4, "hard_test": 16}


@pytest.mark.parametrize(
    "item",
    ["trian=8", "train", "train=", "train=x", "train=-2", "train=0", "train=3", "hard_test=12", "=8", "train=1.5"],
)
def test_sizes_that_cannot_be_made_are_refused(sizes, item):
    message = rf"--size {item}: expected SPLIT=N, .*train \(a multiple of 2\).*hard_test \(a multiple of 8\)"
    with pytest.raises(PreparationError, match=message):
        sizes("--size", item)


def test_the_generator_refuses_them_too(tmp_path):
    for wrong in ({"trian": 8}, {"train": 3}):
        with pytest.raises(ValueError, match="expected a multiple of the group size"):
            generate(tmp_path, sizes=wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_seed_below_0_is_refused(sizes):
    with pytest.raises(PreparationError, match=r"--seed -1: expected a whole number, at least 0"):
        sizes("--seed", "-1")
