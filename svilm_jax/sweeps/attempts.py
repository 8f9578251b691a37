"""Attempts at a trial, as its supervisor recorded them, and the state that follows from them.

`attempts.jsonl` in the folder of a trial is the only record of its state. The supervisor writes it and the controller
reads it: a controller that is killed loses nothing.
"""

import dataclasses
import enum
from pathlib import Path

from svilm_jax.errors import EXIT_DIVERGED, EXIT_STOPPED, UserError
from svilm_jax.filesystem.log_lines import read_lines

ATTEMPTS = "attempts.jsonl"


class State(enum.Enum):
    """State of a trial; the value is its name in the results."""

    PLANNED = "planned"
    RUNNING = "running"
    STOPPED = "stopped"  # saved and ended, or killed together with its supervisor: to be run again
    FAILED = "failed"
    PRUNED = "pruned"  # given up by a search
    DIVERGED = "diverged"  # a loss or gradient that is not finite
    REFUSED = "refused"  # a mistake of the user, which ends the sweep
    DONE = "done"


@dataclasses.dataclass(frozen=True)
class History:
    """What the attempts at a trial amount to.

    Attributes:
      state: never `RUNNING`, which only the launcher knows, nor `PRUNED`, which only a search knows.
      failures: number of attempts that failed.
      status: exit status of the latest attempt, negative for a signal; None if it did not end under supervision.
      seconds: time of all attempts that ended.
      pid: process id of the latest supervisor; 0 if there was none.
      devices: devices of the latest attempt, as in CUDA_VISIBLE_DEVICES.
    """

    state: State
    failures: int = 0
    status: int | None = None
    seconds: float = 0.0
    pid: int = 0
    devices: str = ""


def read_history(folder: Path) -> History:
    """Reads the attempts of the trial in `folder`."""
    state, failures, status, seconds, pid, devices, started = State.PLANNED, 0, None, 0.0, 0, "", 0.0
    for event in read_lines(folder / ATTEMPTS):
        if event["event"] == "start":
            # Until it ends: an attempt of which only the start is known was lost with its machine.
            state, status, started = State.STOPPED, None, event["time"]
            pid, devices = event["pid"], event["devices"]
        else:
            status = event["status"]
            seconds += event["time"] - started
            state = _outcome(status, event["stopped"], folder)
            failures += state is State.FAILED
    return History(state, failures, status, seconds, pid, devices)


def _outcome(status: int, stopped: bool, folder: Path) -> State:
    if status == 0 and (folder / "metrics.json").is_file():
        return State.DONE
    if status == EXIT_DIVERGED:
        return State.DIVERGED
    if status == UserError.exit_status:
        return State.REFUSED
    # A stop signal may arrive before the trial handles it; it then ends by the signal, or as Python ends on Ctrl-C.
    if status == EXIT_STOPPED or (stopped and status != 0):
        return State.STOPPED
    return State.FAILED
