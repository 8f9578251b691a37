"""A run in which nothing moves is ended, and told where it stands; one that moves is left alone."""

import subprocess
import sys
import time

from svilm_jax.training.watchdog import EXIT_STUCK, Watchdog


def test_a_phase_that_lasts_too_long_is_named():
    told = []
    with Watchdog(0.2 / 60, told.append) as watchdog, watchdog.phase("waiting for data", 17):
        time.sleep(0.6)
    assert len(told) == 1
    assert "waiting for data, step 17" in told[0]


def test_many_short_phases_are_signs_of_life():
    told = []
    with Watchdog(0.8 / 60, told.append) as watchdog:
        for step in range(10):
            with watchdog.phase("computing", step):
                time.sleep(0.1)
    assert told == []


def test_the_process_ends_with_a_status_of_its_own_and_says_where_its_threads_stand():
    script = (
        "import time\n"
        "from svilm_jax.training.watchdog import Watchdog\n"
        "def stuck():\n    time.sleep(60)\n"
        "with Watchdog(0.2 / 60) as w, w.phase('saving', 3):\n    stuck()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == EXIT_STUCK
    assert "saving, step 3" in done.stderr
    assert "in stuck" in done.stderr
