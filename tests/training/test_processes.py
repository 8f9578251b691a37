"""Tests of training with several real processes on loopback, which initialize as on a cluster, against one process.

Four processes of two devices over 50 steps are in experiments/processes.py: on two cores they take minutes.
"""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from svilm_jax.checkpoints import load
from svilm_jax.evaluation.metrics_file import read_scalars
from tests.parallel.launches import slurm

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
STEPS = 8


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(dataset, workdir, processes, devices, *more, environments=None, stopped_at=0, last=()):
    """`processes` of them, each with `devices` of its own; by flags, or with an environment for each.

    Where `stopped_at` is given, the last one receives SIGTERM before that step; it also gets the arguments `last`.
    """
    config = f"--config=tests/tiny.py:dataset={dataset},evaluator=retrieval"
    command = ["train", config, f"--workdir={workdir}"]
    command += ["--config.train.batch_size=16", f"--config.train.steps={STEPS}", "--config.mesh.preset=fsdp", *more]
    command += ["--config.mesh.max_replicated_fraction=0.1"]  # widths of 16 over 8 devices
    flags = f"--xla_force_host_platform_device_count={devices}"
    # Few steps of a small model: the compiler's optimizations would take longer than they save.
    shared = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}
    coordinator = f"--coordinator=127.0.0.1:{free_port()}"
    told = [
        [] if environments or processes == 1 else [coordinator, f"--processes={processes}", f"--process={i}"]
        for i in range(processes)
    ]
    own = environments or [{}] * processes
    logs = [workdir.parent / f"{workdir.name}.{time.time_ns()}.log" for _ in told]  # a pipe that nobody reads fills up
    programs = [["svilm_jax.main"]] * processes
    if stopped_at:
        programs[-1] = ["tests.training.stopped_at_step", str(stopped_at), "SIGTERM"]
    told[-1] += last
    commands = [[sys.executable, "-m", *p, *command, *t] for p, t in zip(programs, told, strict=True)]
    return [
        (subprocess.Popen(c, cwd=ROOT, env={**shared, **e}, stderr=log.open("w")), log)
        for c, e, log in zip(commands, own, logs, strict=True)
    ]


def finish(running, status=0):
    """Waits for all processes; the others are killed if one ends with another status, so that nothing hangs."""
    for process, log in running:
        found = process.wait()
        if found != status:
            for other, _ in running:
                other.kill()
        assert found == status, log.read_text()[-3000:]
    return running


def losses(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss/total"] for line in lines}


def assert_same(workdir, whole):
    expected, got = losses(whole), losses(workdir)
    assert list(got) == list(expected) == list(range(1, STEPS + 1))
    np.testing.assert_allclose(list(got.values()), list(expected.values()), rtol=0, atol=1e-5)
    assert len(set(expected.values())) == STEPS  # or equality would say nothing
    one, other = (read_scalars(folder / "metrics.json") for folder in (whole, workdir))
    times = {"train/seconds"}
    assert {k: v for k, v in one.items() if k not in times} == {k: v for k, v in other.items() if k not in times}


@pytest.fixture(scope="module")
def whole(moving_shapes, tmp_path_factory):
    """One process with four devices."""
    workdir = tmp_path_factory.mktemp("one")
    finish(start(moving_shapes, workdir, 1, 4))
    return workdir


def test_two_processes_have_the_losses_of_one(moving_shapes, whole, tmp_path):
    finish(start(moving_shapes, tmp_path, 2, 2, "--config.train.profile=4,5"))
    assert_same(tmp_path, whole)
    traces = sorted(path.name for path in (tmp_path / "profile/plugins/profile/steps_4_5").iterdir())
    assert traces == [f"{socket.gethostname()}.{process}.xplane.pb" for process in range(2)]


def test_a_run_that_one_signal_stops_goes_on_with_other_processes(moving_shapes, whole, tmp_path):
    """SIGTERM reaches one of two; both save the same step and end. One with four devices goes on."""
    finish(start(moving_shapes, tmp_path, 2, 2, stopped_at=3), status=75)
    assert 2 <= load(tmp_path).step < STEPS
    finish(start(moving_shapes, tmp_path, 1, 4))
    assert_same(tmp_path, whole)


def test_a_launcher_is_found_by_itself(moving_shapes, tmp_path):
    """With what `srun` puts into the environment, two processes are one run of two."""
    port = {"JAX_COORDINATOR_PORT": str(free_port()), "SLURM_STEP_NODELIST": "127.0.0.1"}
    environments = [slurm(process, 1, 2) | port for process in range(2)]
    short = ["--config.train.steps=2"]
    finish(start(moving_shapes, tmp_path, 2, 1, *short, environments=environments))
    assert "2 processes" in json.loads((tmp_path / "environment.json").read_text())["devices"]
    assert list(losses(tmp_path)) == [1, 2]


def test_a_mistake_that_one_process_finds_ends_all_with_its_status(moving_shapes, tmp_path):
    """A wrapper that runs lost runs again must not repeat it."""
    running = finish(start(moving_shapes, tmp_path, 2, 1, last=["--config.input.dataset=/nowhere"]), status=2)
    first, last = (log.read_text() for _, log in running)
    assert "svilm train: /nowhere: no such folder" in last
    pid = running[1][0].pid
    assert (
        f"process 1 of 2 ({socket.gethostname()}, pid {pid}) failed, which ends all: /nowhere: no such folder" in first
    )
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))  # process 0 may have come as far as the empty folder
