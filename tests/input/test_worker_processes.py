"""Test that worker processes end with the process that started them, however that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.services

_PATIENCE = 300.0  # seconds on a busy machine


def alive(pid):
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_workers_of_a_killed_process_end(moving_shapes):
    program = [sys.executable, "-m", "tests.input.reads_until_killed", str(moving_shapes)]
    reader = subprocess.Popen(program, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    workers = [int(pid) for pid in reader.stdout.readline().split()]
    assert len(workers) == 2
    try:
        assert all(map(alive, workers))
        reader.kill()
        deadline = time.monotonic() + _PATIENCE
        while any(map(alive, workers)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(map(alive, workers))
    finally:
        reader.kill()
        reader.communicate()
        for pid in filter(alive, workers):
            os.kill(pid, signal.SIGKILL)
