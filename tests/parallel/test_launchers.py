"""Tests of real processes that join each other with nothing but the environment of a launcher."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parallel import launches

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
# Known names of this machine instead of those of a cluster.
HERE = {"MASTER_ADDR": "127.0.0.1", "SLURM_STEP_NODELIST": "127.0.0.1"}


def run(environment, name, cache):
    """Starts two processes of a host; returns what each of them prints, and their messages."""
    running = []
    for process in range(2):
        told = environment(process, 1, 2)
        told |= {key: value for key, value in HERE.items() if key in told}
        program = [sys.executable, "-m", "tests.parallel.joined_process", name, str(cache)]
        shared = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen(program, cwd=ROOT, env=shared | told, **pipes))
    outputs = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    return [json.loads(out) for out, _ in outputs], [err for _, err in outputs]


def test_processes_find_each_other_and_load_what_an_earlier_run_compiled(tmp_path):
    launchers = {
        "torchrun": launches.torchrun,
        "PMI": launches.hydra,
        "Open MPI": launches.open_mpi,
        "SLURM": launches.slurm,
    }
    for number, (launcher, environment) in enumerate(launchers.items()):
        found, messages = run(environment, str(tmp_path / launcher), tmp_path / "cache")
        for process in range(2):
            one = found[process]
            assert (one["launcher"], one["process"], one["local"], one["indices"]) == (launcher, process, 2, [0, 1])
            said = f"svilm train: process {process} of 2 ({launcher}) on {os.uname().nodename}: 1 x CPU"
            assert messages[process].count(said) == 1, messages[process]
            assert one["requests"] > 0
            assert one["hits"] == (one["requests"] if number else 0)
