"""Tests of the options of `svilm sweep --launcher=slurm`, before SLURM is asked anything."""

import argparse

import pytest

from svilm_jax.cli.slurm_options import add_slurm_arguments, sbatch_options
from svilm_jax.main import main

OUT = ["sweep", "--config=sweeps/lr_weight_decay"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--partition=gpu"], "--partition belongs to --launcher=slurm"),
        (["--slurm", "account=a"], "--slurm belongs to --launcher=slurm"),
        (["--launcher=slurm", "--slurm", "=a"], "--slurm =a: expected KEY=VALUE"),
        (["--launcher=slurm", "--slurm=--account=a"], "--slurm --account=a: expected KEY=VALUE"),
        (["--launcher=slurm", "--slurm=time=3", "--time=2"], "--slurm time=3: time is given twice"),
        (["--launcher=slurm", "--gpus-per-trial=1"], "with slurm, use --gpus-per-task"),
        (["--launcher=slurm", "--array-size=0"], "--array-size=0: expected a number of at least 1"),
        (["--launcher=slurm", "--trials=3", "--metric=x"], "a search with --launcher=slurm needs --jobs=N"),
        (["--launcher=slurm"], "scontrol: no such program; run the sweep where jobs of SLURM can be submitted"),
    ],
)
def test_mistakes_are_a_line(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([*OUT, f"--out={tmp_path / 'out'}", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_options_are_those_of_sbatch():
    parser = argparse.ArgumentParser()
    add_slurm_arguments(parser)
    words = ["--time=8:00:00", "--gpus-per-task=1", "--slurm", "account=a=b", "--slurm=exclusive"]
    assert sbatch_options(parser.parse_args(words)) == {
        "time": "8:00:00",
        "gpus-per-task": "1",
        "account": "a=b",
        "exclusive": "",
    }
