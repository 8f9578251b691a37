"""Tests of the controller and the local launcher: real processes, real signals, and trials that train nothing."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from svilm_jax.filesystem.locks import LockError
from svilm_jax.sweeps.attempts import ATTEMPTS, State, read_history
from svilm_jax.sweeps.controller import TrialRefusedError, held_folder
from tests.sweeps import noop_sweep
from tests.sweeps.sweep_files import events, rows, wait_for

ROOT = Path(__file__).parents[2]


def controller(folder, trials=12, jobs=2, seconds=0.1, *options):
    """Starts a controller in a process of its own."""
    command = [sys.executable, "-m", "tests.sweeps.noop_sweep", str(folder), *map(str, (trials, jobs, seconds))]
    return subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_every_trial_is_run_once_and_a_second_command_runs_none(tmp_path):
    assert noop_sweep.run(tmp_path, 5, 2, 0.0) == 0
    before = (tmp_path / "results.csv").read_bytes()
    assert [float(row["score"]) for row in rows(tmp_path)] == [seed / 7 for seed in range(5)]
    assert {row["status"] for row in rows(tmp_path)} == {"done"}
    assert noop_sweep.run(tmp_path, 5, 2, 0.0) == 0
    assert len(events(tmp_path, "start")) == 5
    assert (tmp_path / "results.csv").read_bytes() == before


def test_a_larger_sweep_runs_only_what_is_new(tmp_path):
    noop_sweep.run(tmp_path, 2, 1, 0.0)
    noop_sweep.run(tmp_path, 4, 2, 0.0)
    assert len(events(tmp_path, "start")) == 4
    assert [row["train.seed"] for row in rows(tmp_path)] == ["0", "1", "2", "3"]


def test_a_controller_killed_five_times_ends_with_the_same_results(tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert noop_sweep.run(undisturbed, 12, 2, 0.0) == 0
    delays = random.Random(0)
    for _ in range(5):
        process = controller(killed, seconds=0.4)
        wait_for(lambda: (killed / "results.csv").is_file())
        time.sleep(delays.uniform(0.2, 0.7))
        process.kill()
        process.wait()
    process = controller(killed, seconds=0.4)
    assert process.wait(120) == 0
    assert (killed / "results.csv").read_bytes() == (undisturbed / "results.csv").read_bytes()
    assert len(events(killed, "start")) == len(events(killed, "end")) == 12


def test_a_trial_that_outlives_its_controller_is_waited_for(tmp_path):
    first = controller(tmp_path, 1, 1, 1.0)
    wait_for(lambda: events(tmp_path, "start"))
    first.kill()
    first.wait()
    started = time.monotonic()
    assert noop_sweep.run(tmp_path, 1, 1, 1.0) == 0
    assert time.monotonic() - started > 0.3
    assert len(events(tmp_path, "start")) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_stops_the_trials_and_the_same_command_continues(tmp_path, number):
    process = controller(tmp_path, 3, 2, 5)
    wait_for(lambda: len(list(tmp_path.glob("*/starts"))) == 2)
    time.sleep(0.2)  # until the trials handle SIGTERM
    process.send_signal(number)
    assert process.wait(120) == 75
    assert [row["status"] for row in rows(tmp_path)] == ["stopped", "stopped", "planned"]
    assert {event["status"] for event in events(tmp_path, "end")} == {75}
    assert noop_sweep.run(tmp_path, 3, 2, 0.0) == 0
    assert {row["status"] for row in rows(tmp_path)} == {"done"}


def test_a_trial_adopted_from_a_killed_controller_is_stopped_too(tmp_path):
    first = controller(tmp_path, 1, 1, 30)
    wait_for(lambda: list(tmp_path.glob("*/starts")))
    time.sleep(0.2)
    first.kill()
    first.wait()
    second = controller(tmp_path, 1, 1, 30)
    wait_for(lambda: rows(tmp_path)[0]["status"] == "running" and f'"pid": {second.pid}' in lock_of(tmp_path))
    time.sleep(0.2)
    second.send_signal(signal.SIGTERM)
    assert second.wait(120) == 75
    assert rows(tmp_path)[0]["status"] == "stopped"
    assert len(events(tmp_path, "start")) == 1


def lock_of(folder):
    file = folder / ".lock"
    return file.read_text() if file.is_file() else ""


@pytest.mark.parametrize(
    ("status", "times", "retries", "state", "starts", "exit_status"),
    [
        (1, 1, 1, "done", 2, 0),
        (1, 9, 1, "failed", 2, 1),
        (1, 9, 0, "failed", 1, 1),
        (70, 1, 1, "done", 2, 0),
        (71, 2, 2, "done", 3, 0),
        (75, 3, 0, "done", 4, 0),
        (65, 9, 1, "diverged", 1, 0),
    ],
)
def test_exit_statuses(tmp_path, status, times, retries, state, starts, exit_status):
    assert noop_sweep.run(tmp_path, 1, 1, 0.0, str(status), str(times), retries=retries) == exit_status
    assert rows(tmp_path)[0]["status"] == state
    assert len(events(tmp_path, "start")) == starts
    # A further command does not retry what has failed for good.
    assert noop_sweep.run(tmp_path, 1, 1, 0.0, str(status), str(times), retries=retries) == exit_status
    assert len(events(tmp_path, "start")) == starts


def test_a_failed_trial_is_run_again_with_more_retries(tmp_path):
    assert noop_sweep.run(tmp_path, 1, 1, 0.0, "1", "1", retries=0) == 1
    assert noop_sweep.run(tmp_path, 1, 1, 0.0, "1", "1", retries=1) == 0


def test_an_error_of_the_user_ends_the_sweep(tmp_path):
    with pytest.raises(TrialRefusedError, match=r"was refused: svilm train: ends with 2 \(.*log.txt\)"):
        noop_sweep.run(tmp_path, 8, 1, 0.0, "2")
    assert len(events(tmp_path, "start")) == 1
    assert [row["status"] for row in rows(tmp_path)] == ["refused"] + ["planned"] * 7
    assert noop_sweep.run(tmp_path, 8, 2, 0.0) == 0


def test_success_without_metrics_is_a_failure(tmp_path):
    (trial,) = noop_sweep.trials(1)
    (tmp_path / trial.id).mkdir()
    (tmp_path / trial.id / ATTEMPTS).write_text(
        '{"event": "start", "time": 1.0, "pid": 1, "devices": ""}\n'
        '{"event": "end", "time": 2.0, "status": 0, "stopped": false}\n{"event": "sta'
    )
    history = read_history(tmp_path / trial.id)
    assert (history.state, history.failures, history.seconds) == (State.FAILED, 1, 1.0)
    assert noop_sweep.run(tmp_path, 1, 1, 0.0) == 0


def test_a_trial_whose_supervisor_was_killed_is_waited_for_and_run_again(tmp_path):
    process = controller(tmp_path, 1, 1, 0.8)
    wait_for(lambda: list(tmp_path.glob("*/starts")))
    os.kill(events(tmp_path, "start")[0]["pid"], signal.SIGKILL)
    assert process.wait(120) == 0
    assert len(events(tmp_path, "start")) == 2
    first, second = (event["time"] for event in events(tmp_path, "start"))
    assert second - first > 0.7  # not while the first attempt still went on
    assert rows(tmp_path)[0]["status"] == "done"


def test_a_folder_has_one_controller(tmp_path):
    with held_folder(tmp_path / "sweep"), pytest.raises(LockError, match=r"--out=.*sweep: in use by process \d+"):
        noop_sweep.run(tmp_path / "sweep", 1, 1, 0.0)
