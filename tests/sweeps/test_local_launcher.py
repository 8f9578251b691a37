"""Tests of the local launcher: devices, threads, and what it starts."""

import json
import os
import sys
import time

import pytest

from svilm_jax.config import ConfigError
from svilm_jax.sweeps.attempts import ATTEMPTS, read_history
from svilm_jax.sweeps.launchers.launcher import Job
from svilm_jax.sweeps.launchers.local import LocalLauncher, visible_gpus

PRINT = "import json, os; print(json.dumps(dict(os.environ)))"
WAIT = "import time; time.sleep(30)"


def job(folder, id, program=PRINT):
    (folder / id).mkdir()
    return Job(id, folder / id, (sys.executable, "-c", program))


def ended(launcher):
    end = time.monotonic() + 20
    while launcher.active():
        assert time.monotonic() < end
        time.sleep(0.01)


def environment(job):
    return json.loads((job.folder / "log.txt").read_text())


def test_gpus_and_threads_are_divided(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.setenv("MKL_NUM_THREADS", "5")
    for name in ("NPROC", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    launcher = LocalLauncher(gpus_per_trial=2, gpus=("0", "1", "4", "5", "6"))
    jobs = [job(tmp_path, "a"), job(tmp_path, "b")]
    assert launcher.slots == 2
    for one in jobs:
        assert launcher.free()
        launcher.start(one)
    assert not launcher.free()
    ended(launcher)
    found = [environment(one) for one in jobs]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in found] == ["0,1", "4,5"]
    assert [(one["NPROC"], one["OMP_NUM_THREADS"], one["MKL_NUM_THREADS"]) for one in found] == [("8", "8", "5")] * 2
    assert launcher.free()


def test_one_trial_at_once_has_the_whole_machine(tmp_path, monkeypatch):
    for name in ("NPROC", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    launcher, one = LocalLauncher(), job(tmp_path, "a")
    launcher.start(one)
    ended(launcher)
    assert not {"NPROC", "CUDA_VISIBLE_DEVICES"} & environment(one).keys()


@pytest.mark.parametrize(("jobs", "gpus"), [(0, ()), (0, ("0",)), (2, ("0", "1", "2"))])
def test_too_few_gpus(jobs, gpus):
    with pytest.raises(ConfigError, match=f"{len(gpus)} GPUs are visible, {max(jobs, 1)} x 2 are needed"):
        LocalLauncher(jobs, 2, gpus)


def test_the_gpus_of_an_adopted_trial_are_taken(tmp_path):
    gpus = ("0", "1", "2", "3")
    first = LocalLauncher(gpus_per_trial=2, gpus=gpus)
    old, waits = job(tmp_path, "old"), job(tmp_path, "waits", WAIT)
    first.start(old)
    first.start(waits)  # on 2 and 3
    while "old" in first.active():
        time.sleep(0.01)
    second = LocalLauncher(gpus_per_trial=1, gpus=gpus[1:])  # 1, 2 and 3
    second.adopt([old, waits])
    assert second.active() == {"waits"}
    new = job(tmp_path, "new")
    second.start(new)
    assert not second.free()
    while "new" in second.active():
        time.sleep(0.01)
    second.stop({"waits"})
    ended(second)
    assert environment(new)["CUDA_VISIBLE_DEVICES"] == "1"
    assert read_history(waits.folder).devices == "2,3"


def test_the_gpus_of_this_process_are_divided(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-8a2e")
    assert visible_gpus() == ("3", "GPU-8a2e")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == ()


def test_a_program_that_does_not_exist_fails(tmp_path):
    launcher, one = LocalLauncher(), Job("a", tmp_path, ("/nonexistent/program",))
    launcher.start(one)
    ended(launcher)
    assert read_history(tmp_path).status == 127
    assert [json.loads(line)["event"] for line in (tmp_path / ATTEMPTS).read_text().splitlines()] == ["start", "end"]
