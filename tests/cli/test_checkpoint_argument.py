"""Tests of `--checkpoint`, by which commands choose between the checkpoints of a workdir."""

import argparse

import pytest

from svilm_jax.cli.arguments import add_checkpoint, checkpoint_path
from svilm_jax.config import ConfigError


@pytest.fixture
def workdir(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    return tmp_path


def test_the_newest_is_the_default(workdir):
    parser = argparse.ArgumentParser()
    add_checkpoint(parser)
    assert checkpoint_path(workdir, parser.parse_args([]).checkpoint) == workdir
    for choice in ("best", "40"):
        chosen = parser.parse_args([f"--checkpoint={choice}"]).checkpoint
        assert checkpoint_path(workdir, chosen) == workdir / "checkpoints" / choice


@pytest.mark.parametrize("choice", ["bset", "-1", "4.5", ""])
def test_other_values_are_refused(workdir, choice):
    with pytest.raises(ConfigError, match=f"--checkpoint={choice}: expected newest, best or a number of steps"):
        checkpoint_path(workdir, choice)


def test_an_exported_model_has_no_checkpoints(tmp_path):
    with pytest.raises(ConfigError, match="is not a --workdir of `svilm train`"):
        checkpoint_path(tmp_path, "best")
