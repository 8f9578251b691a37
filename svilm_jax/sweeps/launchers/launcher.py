"""Interface of a launcher."""

import dataclasses
from pathlib import Path
from typing import Protocol

LOG = "log.txt"  # output of all attempts, in the folder of the trial
# Variables that size the thread pools of XLA (NPROC), of BLAS and of OpenMP.
THREAD_VARIABLES = ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclasses.dataclass(frozen=True)
class Job:
    """A trial as a launcher sees it.

    Attributes:
      id: of the trial.
      folder: of the trial: its config, its workdir, its log and its attempts.
      command: program and arguments.
    """

    id: str
    folder: Path
    command: tuple[str, ...]


class Launcher(Protocol):
    """Runs jobs through `supervisor.py` and says which are active.

    The outcome of a job is not its concern: the controller reads it from the attempts once the job is not active.
    """

    def adopt(self, jobs: list[Job]) -> None:
        """Takes over the jobs that an earlier controller started and that are still active."""
        ...

    def start(self, job: Job) -> None:
        """Starts a job; called only if `free` is true."""
        ...

    def active(self) -> set[str]:
        """Returns the ids of the jobs that have not ended, adopted ones included."""
        ...

    def free(self) -> bool:
        """Returns whether another job can be started."""
        ...

    def stop(self, ids: set[str]) -> None:
        """Asks active jobs to save and end."""
        ...
