"""Tests of `svilm launch`: the config is checked against the accelerators, and the file is complete."""

import json
import re

import pytest
import yaml

from svilm_jax.main import main
from svilm_jax.objectives import registry
from tests.cli.test_sweep import REGISTERS

SWEEPS = """
from tests.tiny import get_config as tiny

def get_config():
    config = tiny()
    config.input.dataset = "/data/set"
    config.splice.block = 2
    config.train.batch_size = 128
    return config

def sweep_seed():
    for seed in range(3):
        yield {"train.seed": seed}

def sweep_batch():
    for size in (128, 60):
        yield {"train.batch_size": size}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own_config.py"
    path.write_text(SWEEPS)
    return path


def launch(file, scheduler, accelerator, *options):
    fixed = [f"--config={file}", f"--scheduler={scheduler}", f"--accelerator={accelerator}"]
    volume = [] if scheduler == "slurm" else ["--volume=claim:/data"]
    return main(["launch", *fixed, *volume, "--workdir=gs://bucket/runs", *options])


def test_the_file_is_printed_with_the_resolved_config(file, capsys):
    options = ["--image=image", "--name=demo", "--config.train.steps=7", "--config.mesh.preset=fsdp"]
    assert launch(file, "jobset", "v5e-64", *options, "--print") == 0
    out, err = capsys.readouterr()
    config, job_set = yaml.safe_load_all(out)
    assert json.loads(config["data"]["config.json"])["train"]["steps"] == 7
    assert job_set["metadata"]["name"] == "demo"
    assert "# Memory: svilm compile --config=" in out
    assert "--topology=v5e:8x8" in out
    assert err == "svilm launch submits nothing; submit this by `kubectl apply -f FILE`\n"


def test_a_sweep_is_a_file_per_trial(file, tmp_path, capsys):
    assert launch(file, "skypilot", "H100:8", "--sweep=seed", f"--out={tmp_path / 'out'}") == 0
    lines = capsys.readouterr().out.splitlines()
    tasks = [yaml.safe_load(path.read_text()) for path in sorted((tmp_path / "out").iterdir())]
    assert len(lines) == len(tasks) == len({task["name"] for task in tasks}) == 3
    assert all(line.startswith("sky jobs launch ") for line in lines)
    for task in tasks:
        trial = task["name"].rpartition("-")[2]
        assert f"--workdir=gs://bucket/runs/{trial}" in task["run"]


def test_a_sweep_under_slurm_is_an_array(file, capsys):
    assert launch(file, "slurm", "H100:8", "--sweep=seed", "--sbatch=--time=1:00:00") == 0
    out = capsys.readouterr().out
    assert "#SBATCH --array=0-2\n" in out
    assert "#SBATCH --time=1:00:00\n" in out


@pytest.mark.parametrize(
    ("accelerator", "options", "message"),
    [
        ("v5e-256", ["--config.train.batch_size=64"], "config.train.batch_size=64: expected a multiple of the 256"),
        (
            "v5e-8",
            ["--config.mesh.preset=fsdp_tp", "--config.mesh.tensor=3"],
            "config.mesh.tensor=3: must divide the 8",
        ),
        ("H100:8", ["--nodes=2", "--config.mesh.num_slices=1"], "these 16 devices lie in 2 slices"),
        ("v5e-64", ["--slices=2", "--config.mesh.num_slices=4"], "these 128 devices lie in 2 slices"),
        ("H100:8", ["--config.model.attention=splash"], "config.model.attention='splash': runs on tpu alone"),
        ("H100:8", ["--config.input.dataset="], "config.input.dataset is not set"),
        ("H100:8", ["--config.tokenizer.path="], "config.tokenizer.path is not set"),
        ("H100:8", ["--sweep=batch"], r"trial \w+ {'train.batch_size': 60}: .* a multiple of the 8 devices"),
        ("H100:8", ["--volume=claim:data"], "--volume=claim:data: expected NAME:/PATH"),
        ("H100:8", ["--node-selector=zone"], "--node-selector=zone: expected KEY=VALUE"),
        ("H100:8", ["--workdir=gs://b/$USER"], "without spaces, quotes"),
        ("H100:8", ["--max-restarts=-1"], "--max-restarts=-1: expected a number of at least 0"),
    ],
)
def test_one_line_names_what_does_not_fit(file, accelerator, options, message, capsys):
    assert launch(file, "jobset", accelerator, "--image=image", *options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert re.search(message, err), err


def test_objectives_that_the_config_file_registers_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(registry, "OBJECTIVES", dict(registry.OBJECTIVES))
    own = tmp_path / "registers.py"
    own.write_text(REGISTERS)
    assert launch(own, "jobset", "H100:8", "--image=image") == 2
    assert "installed package with an entry point of the group svilm_jax.plugins" in capsys.readouterr().err
