"""Tests of the SkyPilot task: its fields, and its `run` executed by bash."""

import json
import os
import subprocess

import pytest
import yaml

from svilm_jax.config import ConfigError
from svilm_jax.launch import skypilot
from tests.launch.runs import make_run, make_settings


def rendered(settings, run=None):
    return yaml.safe_load(skypilot.render([run or make_run()], settings, ["a comment"]))


def test_a_slice_of_tpus():
    task = rendered(make_settings("v5litepod-16", cpus=100, max_restarts=5))
    assert task["name"] == "demo"
    assert task["resources"] == {
        "accelerators": "tpu-v5litepod-16",
        "cpus": "100+",
        "job_recovery": {"max_restarts_on_errors": 5, "recover_on_exit_codes": [75]},
    }
    assert "num_nodes" not in task  # the machines of a slice are one node of SkyPilot
    assert task["workdir"] == "."
    assert task["setup"] == "python3 -m pip install --quiet '.[tpu]'\n"


def test_an_image_needs_no_setup():
    task = rendered(make_settings("H100:8", image="image"))
    assert task["resources"]["image_id"] == "docker:image"
    assert task["volumes"] == {"/data": "claim"}
    assert not task.keys() & {"setup", "workdir"}
    assert rendered(make_settings("H100:8", image="image", setup="make"))["setup"] == "make\n"


@pytest.mark.parametrize("nodes", [1, 2])
def test_every_machine_runs_the_training_with_its_place(tmp_path, nodes):
    run = make_run(train={"steps": 7})
    task = rendered(make_settings("H100:8", nodes=nodes), run)
    assert task["num_nodes"] == nodes
    program = tmp_path / "svilm"
    program.write_text(f'#!/bin/sh\necho $$ "$@" > {tmp_path}/called\nexit 75\n')
    program.chmod(0o755)
    environment = {
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
        "SKYPILOT_NUM_NODES": "2",
        "SKYPILOT_NODE_RANK": "1",
    }
    with subprocess.Popen(["bash", "-c", task["run"]], env=environment) as shell:
        assert shell.wait() == 75
    pid, *words = (tmp_path / "called").read_text().split()
    assert int(pid) == shell.pid  # the shell became the training, which therefore gets its signals
    joined = ["--coordinator=10.0.0.1:8476", "--processes=2", "--process=1"] if nodes > 1 else []
    config = tmp_path / "svilm_config.json"
    assert words == ["train", f"--config={config}", "--workdir=gs://bucket/run", *joined]
    assert json.loads(config.read_text()) == json.loads(json.dumps(run.config))


@pytest.mark.parametrize(
    ("accelerator", "options", "message"),
    [
        ("v5p:4x4x12", {}, "no slices of topology 4x4x12"),
        ("v5e-8", {"node_selector": {"a": "b"}}, "do not apply to --scheduler=skypilot"),
        ("v5e-8", {"directives": ("--x",)}, "do not apply to --scheduler=skypilot"),
    ],
)
def test_refused_settings(accelerator, options, message):
    with pytest.raises(ConfigError, match=message):
        rendered(make_settings(accelerator, **options))


def test_several_slices_and_several_runs_are_refused():
    with pytest.raises(ConfigError, match="single slices"):
        rendered(make_settings("v5e-8", slices=2))
    with pytest.raises(ConfigError, match="give each a file by --out"):
        skypilot.render([make_run("a"), make_run("b")], make_settings("v5e-8"), [])
    with pytest.raises(ConfigError, match="--workdir=runs/x: is not on the machines that SkyPilot starts"):
        rendered(make_settings("v5e-8"), make_run(workdir="runs/x"))
