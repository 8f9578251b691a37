"""Tests that a killed process ends the others with a distinct status and its name, with real processes on loopback."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from svilm_jax.parallel.lost_processes import EXIT_LOST_PROCESS, ProcessWatch

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
SECONDS = 10  # without a beat: long enough for a machine with other things to do


def start(address, process):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.parallel.lost_process", address, str(process), str(SECONDS)],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("lost", [0, 1])
def test_the_other_process_names_the_one_that_was_killed(lost):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    processes = [start(address, process) for process in (0, 1)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert "together\n" in process.stdout, process.poll()  # or it ended
        processes[lost].send_signal(signal.SIGKILL)
        error = processes[1 - lost].communicate()[1]
        assert processes[1 - lost].returncode == EXIT_LOST_PROCESS, error[-3000:]
        pid = processes[lost].pid
        named = f"process 1 of 2 ({socket.gethostname()}, pid {pid}) is lost: it has sent no heartbeat for"
        assert ("process 0, the coordinator at 127.0.0.1:" if lost == 0 else named) in error
        assert "resumes all processes from the latest checkpoint" in error
    finally:
        for process in processes:
            process.kill()
            process.communicate()


class Store:
    """The key-value store of the coordination service, in memory."""

    def __init__(self):
        self.values = {}

    def key_value_set(self, key, value, allow_overwrite=False):
        if key in self.values and not allow_overwrite:
            raise RuntimeError("ALREADY_EXISTS")
        self.values[key] = value

    def key_value_try_get(self, key):
        if key not in self.values:
            raise RuntimeError(f"NOT_FOUND: {key}")
        return self.values[key]

    def key_value_dir_get(self, prefix):
        return [item for item in self.values.items() if item[0].startswith(prefix)]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (2, "failed, which ends all: InputError: no such folder"),
        (75, "was stopped, which ends all: InputError: no such folder"),
    ],
)
@pytest.mark.parametrize("failing", [0, 1])
def test_all_processes_end_as_the_one_that_failed_and_one_that_left_is_not_missed(status, said, failing):
    store, ends = Store(), []

    def watch(process):
        return ProcessWatch(store, process, 3, 0.1, lambda message, status: ends.append((message, status)))

    watch(2).leave()
    watch(failing).leave("InputError:\n no such folder", status)
    for process in {0, 1, 2} - {failing}:
        other = watch(process)
        other.start()
        other._thread.join()
    assert len(ends) == 2
    assert ends[0] == ends[1]
    message, found = ends[0]
    assert found == status
    assert f"process {failing} of 3" in message
    assert message.endswith(said)


def test_a_silent_process_is_lost_with_a_status_of_its_own():
    store, ends = Store(), []
    first = ProcessWatch(store, 0, 2, 0.1, lambda message, status: ends.append((message, status)))
    first.start()
    first._thread.join()
    [(message, status)] = ends
    assert status == EXIT_LOST_PROCESS
    assert "process 1 of 2 (no contact) is lost: it has sent no heartbeat" in message
