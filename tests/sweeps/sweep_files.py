"""What a sweep left in its folder, for tests, and a wait for it."""

import csv
import json
import time

from svilm_jax.sweeps.attempts import ATTEMPTS


def rows(folder):
    """The rows of `results.csv`."""
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


def events(folder, kind):
    """The events of a kind of all trials."""
    lines = [line for file in folder.glob(f"*/{ATTEMPTS}") for line in file.read_text().splitlines()]
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def wait_for(condition, seconds=120):
    """Waits until a condition holds, and fails after a time that no machine should need."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
