"""Tests of the sbatch script: run by bash, with `srun` and `scontrol` that record how they were called."""

import json
import os
import subprocess

import pytest

from svilm_jax.config import ConfigError
from svilm_jax.launch import slurm
from tests.launch.runs import make_run, make_settings


def rendered(runs=None, **options):
    runs = runs or [make_run(workdir="/shared/runs/demo")]
    return slurm.render(runs, make_settings("H100:8", nodes=2, volumes={}, **options), ["a comment"], "demo")


def directives(script):
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]


class Job:
    """A job whose `srun` ends with a given status."""

    def __init__(self, folder, script):
        self.folder, self.script = folder, folder / "demo.sbatch"
        self.script.write_text(script)
        tools = folder / "bin"
        tools.mkdir()
        for name in ("srun", "scontrol"):
            (tools / name).write_text(f'#!/bin/sh\necho "$@" >> {folder}/{name}.called\nexit ${{STATUS:-0}}\n')
            (tools / name).chmod(0o755)

    def run(self, status, task=""):
        environment = {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "SLURM_SUBMIT_DIR": str(self.folder),
            "SLURM_JOB_ID": "7",
            "SLURM_ARRAY_TASK_ID": task,
            "SLURM_CPUS_ON_NODE": "32",
            "STATUS": str(status),
        }
        command = ["bash", str(self.script)]
        return subprocess.run(command, env=environment, cwd="/", check=False, capture_output=True, text=True)

    def calls(self, name):
        file = self.folder / f"{name}.called"
        return file.read_text().splitlines() if file.is_file() else []


def test_one_process_per_machine_with_all_of_its_gpus(tmp_path):
    script = rendered(setup="module load cuda", directives=("--partition=gpu",), grace_seconds=99)
    assert directives(script) == [
        *("--job-name=demo", "--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=8", "--exclusive", "--mem=0"),
        *("--output=demo-%j.log", "--open-mode=append", "--requeue", "--signal=TERM@99", "--partition=gpu"),
    ]
    assert "\nmodule load cuda\n" in script
    job = Job(tmp_path, script)
    job.run(75)
    assert job.calls("srun") == [
        f"--kill-on-bad-exit=0 --cpus-per-task=32 svilm train --config={tmp_path}/svilm-7.json "
        "--workdir=/shared/runs/demo"
    ]
    expected = json.loads(json.dumps(make_run().config))
    assert json.loads((tmp_path / "svilm-7.json").read_text()) == expected


@pytest.mark.parametrize("status", [0, 2, 65])
def test_done_mistakes_and_divergence_are_final(tmp_path, status):
    job = Job(tmp_path, rendered())
    assert job.run(status).returncode == status
    assert job.calls("scontrol") == []
    assert not (tmp_path / "svilm-7.json").exists()


def test_a_saved_run_is_requeued_without_limit(tmp_path):
    job = Job(tmp_path, rendered(max_restarts=1))
    for _ in range(3):
        assert job.run(75).returncode == 75
    assert job.calls("scontrol") == ["requeue 7"] * 3


def test_failures_are_requeued_a_few_times(tmp_path):
    job = Job(tmp_path, rendered(max_restarts=2))
    assert [job.run(status).returncode for status in (71, 1, 75, 137)] == [71, 1, 75, 137]
    assert job.calls("scontrol") == ["requeue 7"] * 3  # not after the third failure


def test_the_tasks_of_an_array_are_the_trials(tmp_path):
    runs = [make_run(f"demo-{seed}", f"/shared/{seed}", train={"seed": seed}) for seed in range(3)]
    script = rendered(runs)
    assert "--array=0-2" in directives(script)
    assert "--output=demo-%A_%a.log" in directives(script)
    job = Job(tmp_path, script)
    job.run(75, task="2")
    assert json.loads((tmp_path / "svilm-7.json").read_text())["train"]["seed"] == 2
    assert job.calls("srun")[0].endswith("--workdir=/shared/2")


@pytest.mark.parametrize(
    ("accelerator", "options", "message"),
    [
        ("v5e-8", {}, "--scheduler=slurm has GPUs only"),
        ("H100:8", {"image": "image"}, "--image does not apply"),
        ("H100:8", {"volumes": {"/data": "x"}}, "--volume does not apply"),
        ("H100:8", {"node_selector": {"a": "b"}}, "--node-selector does not apply"),
    ],
)
def test_refused_settings(accelerator, options, message):
    with pytest.raises(ConfigError, match=message):
        slurm.render([make_run()], make_settings(accelerator, **{"volumes": {}} | options), [], "demo")


@pytest.mark.services
def test_slurm_accepts_the_scripts(tmp_path):
    test_cluster = pytest.importorskip("tests.slurm.cluster")
    if missing := test_cluster.missing():
        pytest.skip(f"no {missing[0]} here")
    with test_cluster.running_cluster() as environment:
        for count, cpus in ((1, 0), (3, 1)):
            runs = [make_run(f"demo-{number}") for number in range(count)]
            script = slurm.render(runs, make_settings("H100:2", nodes=2, cpus=cpus, volumes={}), [], "demo")
            (tmp_path / "demo.sbatch").write_text(script)
            command = ["sbatch", "--test-only", str(tmp_path / "demo.sbatch")]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
