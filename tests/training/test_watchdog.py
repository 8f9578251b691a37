"""Tests of the watchdog: a stalled run ends with its position reported, and an active one continues."""

import queue
import subprocess
import sys
import threading

import pytest

from svilm_jax.training import watchdog as module
from svilm_jax.training.watchdog import EXIT_STUCK, Watchdog


class Clock:
    """Time that only the test moves; `look` waits until the watchdog has seen it."""

    def __init__(self):
        self.now, self.looked = 100.0, threading.Semaphore(0)

    def monotonic(self):
        if threading.current_thread() is not threading.main_thread():
            self.looked.release()
        return self.now

    def look(self):
        while self.looked.acquire(blocking=False):
            pass
        for _ in range(2):  # the first look may have begun before
            self.looked.acquire()


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def test_a_phase_that_lasts_too_long_is_named(clock):
    told = queue.Queue()
    with Watchdog(0.2 / 60, told.put) as watchdog, watchdog.phase("waiting for data", 17):
        clock.now += 0.1
        clock.look()
        assert told.empty()
        clock.now += 0.2
        assert "waiting for data, step 17" in told.get()
    assert told.empty()


def test_many_short_phases_are_signs_of_life(clock):
    told = []
    with Watchdog(0.2 / 60, told.append) as watchdog:
        for step in range(4):
            with watchdog.phase("computing", step):
                clock.now += 0.15
                clock.look()
    assert told == []


def test_the_process_ends_with_a_status_of_its_own_and_says_where_its_threads_stand():
    script = (
        "import threading\n"
        "from svilm_jax.training.watchdog import Watchdog\n"
        "def stuck():\n    threading.Event().wait()\n"
        "with Watchdog(0.2 / 60) as w, w.phase('saving', 3):\n    stuck()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_STUCK
    assert "saving, step 3" in done.stderr
    assert "in stuck" in done.stderr
