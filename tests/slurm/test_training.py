"""Tests of training on a real SLURM cluster: tasks that find each other, and signals after which a run goes on."""

import json
import os
import re
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from svilm_jax.checkpoints import load
from svilm_jax.main import main
from svilm_jax.models.parameters import parameters
from tests.slurm.cluster import NODES

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
# Few steps of a small model: the optimizations of the compiler would take longer than they save. Every program is kept
# for the next start.
HASTE = {
    "JAX_PLATFORMS": "cpu",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}
HELD_AT = 2  # step of each attempt


def arguments(dataset, workdir, steps):
    config = f"--config=tests/slurm/quick.py:dataset={dataset}"
    return ["train", config, f"--workdir={workdir}", f"--config.train.steps={steps}"]


def losses(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss/total"]) for line in lines]


@pytest.fixture(autouse=True)
def in_haste(monkeypatch):
    monkeypatch.chdir(ROOT)
    for name, value in HASTE.items():
        monkeypatch.setenv(name, value)


def test_two_tasks_on_two_nodes_find_each_other(cluster, moving_shapes, tmp_path):
    command = [sys.executable, "-m", "svilm_jax.main", *arguments(moving_shapes, tmp_path, 2)]
    cluster.run("srun", "--nodes=2", "--ntasks=2", *command)
    assert "2 processes" in json.loads((tmp_path / "environment.json").read_text())["devices"]
    assert [step for step, _ in losses(tmp_path)] == [1, 2]


def test_a_sweep_whose_trial_has_two_tasks(cluster, moving_shapes, tmp_path):
    file, out = tmp_path / "own.py", tmp_path / "out"
    file.write_text("from tests.slurm.quick import get_config\n\ndef sweep():\n    yield {'train.seed': 1}\n")
    options = ["--launcher=slurm", "--partition=low", "--time=60", "--cpus-per-task=1", "--slurm=nodes=2"]
    config = [f"--config={file}:dataset={moving_shapes}", "--config.train.steps=2"]
    assert main(["sweep", *config, f"--out={out}", *options, "--slurm", "ntasks=2"]) == 0
    ((workdir, recorded),) = ((file.parent, file.read_text()) for file in out.glob("*/attempts.jsonl"))
    assert "2 processes" in json.loads((workdir / "environment.json").read_text())["devices"]
    assert [step for step, _ in losses(workdir)] == [1, 2]
    assert [json.loads(line)["event"] for line in recorded.splitlines()] == ["start", "end"]


def documented_script():
    """The batch script of the documentation."""
    text = (ROOT / "docs" / "pretraining.md").read_text()
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", text, re.S)
    return script


def test_every_signal_of_slurm_saves_and_the_job_goes_on_bit_identically(cluster, wait_for, moving_shapes, tmp_path):
    """With the batch script of the documentation, whose `svilm` waits for the signal in the middle of its training."""
    workdir, held, program = tmp_path / "run", tmp_path / "held", tmp_path / "bin" / "svilm"
    steps = HELD_AT * 5
    program.parent.mkdir()
    told = [str(HELD_AT), str(held), *arguments(moving_shapes, workdir, steps)]
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -m tests.slurm.held_at_step {' '.join(told)}\n")
    program.chmod(0o755)
    (tmp_path / "batch.sh").write_text(documented_script())
    small = ["--partition=low", "--nodes=1", f"--nodelist={NODES[0]}", "--ntasks-per-node=1", "--cpus-per-task=1"]
    small += ["--gpus-per-node=0", "--time=60", "--signal=USR1@180", f"--output={tmp_path}/output"]
    exported = f"--export=ALL,PATH={program.parent}:{os.environ['PATH']},WORKDIR={workdir},DATASET=,VOCAB="
    job, submitted = cluster.run("sbatch", "--parsable", *small, exported, f"{tmp_path}/batch.sh"), time.monotonic()

    def time_limit():  # in two minutes, which is less than the three of --signal
        minutes = int((time.monotonic() - submitted) / 60) + 2
        cluster.run("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}")

    def preempt():
        options = ["--partition=high", f"--nodelist={NODES[0]}", "--exclusive", f"--output={tmp_path}/high"]
        cluster.run("sbatch", *options, "--wrap=true")

    def signaled(name):
        return lambda: cluster.run("scancel", f"--signal={name}", job)

    for count, stop in enumerate((time_limit, signaled("USR2"), signaled("TERM"), preempt)):
        wait_for((held.with_suffix(f".{count}")).exists, cluster.hasten)
        stop()
        wait_for(lambda: cluster.run("squeue", "-h", "-j", job, "-o", "%T") == "PENDING")
        cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=60")
        assert losses(workdir)[-1][0] == HELD_AT * (count + 1)
    held.with_suffix(".go").touch()
    wait_for(lambda: cluster.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%T") == "COMPLETED", cluster.hasten)
    output = (tmp_path / "output").read_text()
    assert re.findall(r"stopped by (SIG\w+) at step (\d+)", output) == [
        ("SIGUSR1", "2"),
        ("SIGUSR2", "4"),
        ("SIGTERM", "6"),
        ("SIGTERM", "8"),
    ]

    whole = tmp_path / "whole"
    cluster.run(sys.executable, "-m", "svilm_jax.main", *arguments(moving_shapes, whole, steps))
    assert losses(workdir) == losses(whole)
    one, other = load(whole), load(workdir)
    assert one.step == other.step == steps
    for a, b in zip(jax.tree.leaves(parameters(one.model)), jax.tree.leaves(parameters(other.model)), strict=True):
        np.testing.assert_array_equal(a, b)
