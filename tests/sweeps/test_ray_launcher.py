"""Tests of the Ray launcher on a real cluster of one node: controllers that are killed, stops, and lost trials."""

import contextlib
import functools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.environment("ray"), pytest.mark.services]
pytest.importorskip("ray", reason="no ray here: make test-ray")

from svilm_jax.main import main  # noqa: E402
from svilm_jax.sweeps.attempts import ATTEMPTS, State, read_history  # noqa: E402
from svilm_jax.sweeps.launchers.launcher import LOG, Job  # noqa: E402
from svilm_jax.sweeps.launchers.ray import RayError, RayLauncher  # noqa: E402
from tests.sweeps import noop_sweep, ray_sweep  # noqa: E402
from tests.sweeps.sweep_files import events, rows  # noqa: E402
from tests.sweeps.sweep_files import wait_for as wait_for_seconds  # noqa: E402

ROOT = Path(__file__).parents[2]
TRIAL = [sys.executable, "-I", "-S", str(ROOT / "tests/sweeps/noop_trial.py"), "{}"]
# Needs five seconds to save, more than the three that Ray gives a job by itself.
SAVES = """
import json, os, signal, sys, time

def save(*_):
    time.sleep(5)
    open(sys.argv[1] + "/saved", "w").close()
    os._exit(75)

signal.signal(signal.SIGTERM, save)
open(sys.argv[1] + "/ready", "w").close()
if not os.path.exists(sys.argv[1] + "/saved"):
    time.sleep(600)
json.dump({"score": 1.0}, open(sys.argv[1] + "/metrics.json", "w"))
"""
LIMIT = 300.0  # seconds; no test waits that long
wait_for = functools.partial(wait_for_seconds, seconds=LIMIT)


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def head_node(folder):
    """Starts Ray on the loopback interface; yields the address of its dashboard, "" if Ray gave up."""
    names = ("port", "dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port")
    names += ("metrics-export-port", "runtime-env-agent-port", "ray-client-server-port")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=4"]
    command += ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", "--disable-usage-stats"]
    command += [f"--{name}={port}" for name, port in ports.items()]
    command += [f"--temp-dir={folder}", "--object-store-memory=100000000"]
    # Without the second variable, which means clusters in general, Ray takes another address than the loopback one.
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    # On a busy machine, a request may break off after the job is known and before it is scheduled, and parts of Ray
    # take long to start.
    environment |= {"RAY_JOB_START_TIMEOUT_SECONDS": "90", "RAY_agent_register_timeout_ms": "120000"}
    with (folder / "start.log").open("a") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{ports['dashboard-port']}"
        wait_for(lambda: process.poll() is not None or runs_jobs(url, folder))
        yield url if process.poll() is None else ""
    finally:
        process.terminate()  # it ends the others
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def address():
    """Address of the dashboard of a cluster that ends with the tests."""
    for _ in range(5):  # Ray gives up if its own start takes more than 30 seconds
        # Not in `tmp_path`: paths of sockets have at most 107 characters.
        with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            with head_node(folder) as url:
                if url:
                    yield url
                    return
            log = (folder / "start.log").read_text()
    pytest.fail(f"Ray does not start: {log}")


def runs_jobs(url, folder):
    """Whether the cluster has run a job, with which all of its parts are up."""
    with contextlib.suppress(RayError):
        launcher = RayLauncher(url, settle_seconds=0.0)
        first = Job("first", folder / "first", ("true",))
        first.folder.mkdir(exist_ok=True)
        launcher.adopt([first])
        if not launcher.active() and not read_history(first.folder).pid:
            launcher.start(first)
        return read_history(first.folder).status == 0
    return False


@contextlib.contextmanager
def controller(address, folder, count, words):
    """A controller in a process of its own."""
    command = [sys.executable, "-m", "tests.sweeps.ray_sweep", address, str(folder), str(count), "2", *words]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def test_four_trials_whose_controller_is_killed_run_once_with_the_results_of_a_local_sweep(address, tmp_path):
    local, remote = tmp_path / "local", tmp_path / "remote"
    assert noop_sweep.run(local, 4, 2, 0.0) == 0
    with controller(address, remote, 4, [*TRIAL, "2"]) as first:
        wait_for(lambda: events(remote, "start"))
        first.kill()
    with controller(address, remote, 4, [*TRIAL, "2"]) as second:
        assert second.wait(LIMIT) == 0
    assert len(events(remote, "start")) == len(events(remote, "end")) == 4
    assert [(folder / "starts").read_text() for folder in remote.iterdir() if folder.is_dir()] == ["x"] * 4
    assert (remote / "results.csv").read_bytes() == (local / "results.csv").read_bytes()
    assert ray_sweep.run(address, remote, 4, 2, [*TRIAL, "2"]) == 0  # nothing is left to do
    assert len(events(remote, "start")) == 4


def test_a_stopped_trial_has_time_to_save_and_the_same_command_continues(address, tmp_path):
    words = [sys.executable, "-c", SAVES, "{}"]
    with controller(address, tmp_path / "sweep", 1, words) as first:
        wait_for(lambda: list(tmp_path.glob("sweep/*/ready")))
        first.send_signal(signal.SIGTERM)
        assert first.wait(LIMIT) == 75
    (end,) = events(tmp_path / "sweep", "end")
    assert (end["status"], end["stopped"]) == (75, True)
    assert [row["status"] for row in rows(tmp_path / "sweep")] == ["stopped"]
    assert ray_sweep.run(address, tmp_path / "sweep", 1, 1, words) == 0
    assert [row["status"] for row in rows(tmp_path / "sweep")] == ["done"]


def test_exit_statuses_come_from_the_attempts(address, tmp_path):
    assert ray_sweep.run(address, tmp_path / "sweep", 1, 1, [*TRIAL, "0", "1", "1"]) == 0  # fails once
    assert [event["status"] for event in events(tmp_path / "sweep", "end")] == [1, 0]
    assert [row["status"] for row in rows(tmp_path / "sweep")] == ["done"]


def job(folder, *command):
    (folder / "trial").mkdir()
    return Job("trial", folder / "trial", command)


def test_a_trial_lost_with_its_processes_is_run_again(address, tmp_path):
    launcher = RayLauncher(address, settle_seconds=1.0)
    one = job(tmp_path, sys.executable, "-c", "import time; time.sleep(600)")
    launcher.start(one)
    wait_for(lambda: events(tmp_path, "start"))
    os.killpg(os.getpgid(events(tmp_path, "start")[0]["pid"]), signal.SIGKILL)
    wait_for(lambda: not launcher.active())
    assert read_history(one.folder).state is State.STOPPED
    again = Job(one.id, one.folder, (sys.executable, "-c", ""))
    launcher.start(again)
    wait_for(lambda: not launcher.active())
    assert [event["event"] for event in map(json.loads, (one.folder / ATTEMPTS).read_text().splitlines())] == [
        *("start", "start", "end")
    ]


def test_an_attempt_is_submitted_once_by_two_controllers(address, tmp_path):
    first, second = RayLauncher(address), RayLauncher(address)
    one = job(tmp_path, sys.executable, "-c", "import time; time.sleep(2)")
    first.start(one)
    second.start(one)  # without `adopt`, as if the request of the first had arrived late
    third = RayLauncher(address)
    third.adopt([one])
    assert third.active() == {"trial"}
    for launcher in (first, second, third):
        wait_for(lambda launcher=launcher: not launcher.active())
    assert len(events(tmp_path, "start")) == 1


def test_a_trial_that_ray_cannot_start_has_failed(address, tmp_path, monkeypatch):
    one = job(tmp_path, "true")
    launcher = RayLauncher(address, settle_seconds=1.0)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")  # as on a node that lacks the environment
    launcher.start(one)
    wait_for(lambda: not launcher.active())
    history = read_history(one.folder)
    assert (history.state, history.failures) == (State.FAILED, 1)
    assert "/nonexistent/python" in (one.folder / LOG).read_text()


def test_a_trial_that_waits_for_resources_is_not_waited_for_when_it_is_stopped(address, tmp_path):
    launcher = RayLauncher(address, gpus=8)  # which the cluster does not have
    launcher.start(job(tmp_path, "true"))
    assert launcher.active() == {"trial"}
    launcher.stop({"trial"})
    assert launcher.active() == set()


SWEEP = """
from tests import tiny

def get_config():
    return tiny.get_config("dataset=/nonexistent")

def sweep():
    yield {"train.seed": 1}
"""


def test_the_command_runs_trials_on_the_cluster_and_ends_with_a_mistake(address, tmp_path, capsys):
    (tmp_path / "sweeps.py").write_text(SWEEP)
    command = ["sweep", f"--config={tmp_path / 'sweeps.py'}", f"--out={tmp_path / 'out'}", "--launcher=ray"]
    assert main([*command, f"--ray-address={address}", "--cpus-per-trial=0.5"]) == 2
    assert re.search(r"trial \w+ was refused: svilm train: .*/nonexistent", capsys.readouterr().err)
    (port,) = free_ports(1)
    assert main([*command, f"--ray-address=http://127.0.0.1:{port}"]) == 2
    assert f"--ray-address=http://127.0.0.1:{port}: no Ray dashboard answers there" in capsys.readouterr().err
