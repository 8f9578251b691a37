"""Record of a run in `WORKDIR/run.json`: its steps, its process, and how its latest attempt ended."""

import contextlib
import dataclasses
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from svilm_jax.errors import EXIT_INTERRUPTED, EXIT_STOPPED, UserError
from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.training.preemption import Stopped

FILE = "run.json"


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """One attempt at a run.

    Attributes:
      started: seconds since 1970.
      first_step: number of steps that were done before.
      total_steps: number of steps of the run.
      host: of process 0.
      pid: of process 0.
      ended: seconds since 1970; None while it runs, and if it was killed.
      status: exit status; None as for `ended`.
      message: why it ended; "" if it finished.
    """

    started: float
    first_step: int
    total_steps: int
    host: str
    pid: int
    ended: float | None = None
    status: int | None = None
    message: str = ""


class RunRecorder:
    """Writes the record of one attempt; a failure to write it changes nothing else.

    Attributes:
      status: exit status to record if the attempt ends without an exception.
    """

    def __init__(self, workdir: Path):
        """Writes nothing yet: an attempt that is refused leaves the record of the one before."""
        self.status = 0
        self._file = workdir / FILE
        self._record: RunRecord | None = None

    def start(self, first_step: int, total_steps: int) -> None:
        """Records the start."""
        self._write(RunRecord(round(time.time(), 3), first_step, total_steps, socket.gethostname(), os.getpid()))

    def end(self, status: int, message: str = "") -> None:
        """Records the end, if the start was recorded."""
        if self._record is not None:
            message = " ".join(message.split())
            self._write(dataclasses.replace(self._record, ended=round(time.time(), 3), status=status, message=message))

    def _write(self, record: RunRecord) -> None:
        self._record = record
        with contextlib.suppress(OSError), atomic_write(self._file) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(record), indent=1) + "\n")


@contextlib.contextmanager
def recorded_run(workdir: Path) -> Iterator[RunRecorder]:
    """Records how the code inside ends, once it has called `start`."""
    recorder = RunRecorder(workdir)
    try:
        yield recorder
    except BaseException as error:
        recorder.end(_exit_status(error), str(error) or type(error).__name__)
        raise
    recorder.end(recorder.status)


def read_run_record(workdir: Path) -> RunRecord | None:
    """Reads the record of the latest attempt; None if there is none, or none that can be read."""
    try:
        found = json.loads((workdir / FILE).read_text())
        return RunRecord(**{field.name: found[field.name] for field in dataclasses.fields(RunRecord)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _exit_status(error: BaseException) -> int:
    if isinstance(error, Stopped):
        return EXIT_STOPPED
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    return error.exit_status if isinstance(error, UserError) else 1
