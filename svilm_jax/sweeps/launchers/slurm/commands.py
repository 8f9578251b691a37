"""Commands of SLURM that the launcher uses: `sbatch`, `squeue`, `scancel` and `scontrol`.

Their text output is parsed and not JSON, whose schema differs from version to version. `sacct` is not used: many
clusters have no accounting database, and `squeue --states=all` shows the jobs that ended within the last minutes.
"""

import contextlib
import dataclasses
import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence

from svilm_jax.errors import UserError

_TIMEOUT = 120.0  # seconds; a busy controller of SLURM takes long to answer
_ARGUMENTS = 200  # job ids or names in one command
# Final states of a job. All others, such as REQUEUE_HOLD and COMPLETING, are of jobs that may run again or still run.
_FINAL = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL")  # codespell:ignore cancelled
    + ("OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT")
)
# Variables of SLURM that say where its controller is. The others describe the job in which this process may run itself,
# and would be taken for options of the jobs that it submits.
_CLUSTER = frozenset(("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT"))
_PASSING = re.compile(r"timed out|unable to contact|temporarily|try again|slow down|connection refused", re.I)


class SlurmError(UserError):
    """A command of SLURM that does not work; the message has the last line of its output.

    Attributes:
      passing: whether the same command may work later.
    """

    def __init__(self, message: str, passing: bool = False):
        super().__init__(message)
        self.passing = passing


@dataclasses.dataclass(frozen=True)
class ArrayTask:
    """A task of a job array in the queue.

    Attributes:
      id: such as 123_4, as `scancel` takes it.
      name: of the job.
      index: of the task.
      state: such as RUNNING.
    """

    id: str
    name: str
    index: int
    state: str

    @property
    def is_active(self) -> bool:
        """Whether the task waits, runs or ends."""
        return self.state not in _FINAL


def max_array_size() -> int:
    """Returns the number of tasks that a job array of the cluster may have.

    Raises:
      SlurmError: SLURM is not installed here, or its controller does not answer.
    """
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _run("scontrol", "show", "config"), re.M)
    return int(found[1]) if found else 1001  # the default of SLURM


def submit_array(name: str, script: str, size: int, output: str, options: Mapping[str, str]) -> None:
    """Submits a job array with indices from 0; it is requeued after a preemption or the failure of a node.

    Args:
      name: of the job.
      script: path of the batch script.
      size: number of tasks.
      output: pattern of the files to which the output of the batch scripts is appended.
      options: long options of `sbatch`, without dashes; "" for one without a value.

    Raises:
      SlurmError: the array is refused.
    """
    # Options of the command line, since variables such as SBATCH_PARTITION take precedence over those in a script.
    fixed = {
        "job-name": name,
        "array": f"0-{size - 1}",
        "output": output,
        "open-mode": "append",
        "requeue": "",
        "parsable": "",
    }
    arguments = [f"--{key}={value}" if value else f"--{key}" for key, value in {**options, **fixed}.items()]
    _run("sbatch", *arguments, script)


def list_tasks(names: Iterable[str] | None = None) -> list[ArrayTask]:
    """Returns the tasks of the job arrays of this user, those that ended within the last minutes included.

    Args:
      names: of the jobs; None: all.

    Raises:
      SlurmError: no answer.
    """
    query = ["--noheader", "--array", "--all", "--states=all", f"--user={os.getuid()}", "--format=%i|%j|%T"]
    if names is None:
        lines = _run("squeue", *query).splitlines()
    else:
        parts = _parts(sorted(set(names)))
        lines = [line for part in parts for line in _run("squeue", *query, f"--name={','.join(part)}").splitlines()]
    found = (re.fullmatch(r"(\d+_(\d+))\|(.*)\|([A-Z_]+)", line.strip()) for line in lines)
    return [ArrayTask(match[1], match[3], int(match[2]), match[4]) for match in found if match]


def stop_tasks(ids: Sequence[str]) -> None:
    """Removes the tasks that wait from the queue, and sends SIGTERM to those that run, in this order.

    Not `scancel` alone: it kills what has not ended after 30 seconds, be it saving or not.
    """
    for part in _parts(ids):
        for options in (("--state=PENDING",), ("--state=RUNNING", "--signal=TERM")):
            with contextlib.suppress(SlurmError):  # no answer; the launcher repeats it
                _run("scancel", *options, *part, check=False)


def _parts(values: Sequence[str]) -> list[Sequence[str]]:
    return [values[start : start + _ARGUMENTS] for start in range(0, len(values), _ARGUMENTS)]


def _run(program: str, *arguments: str, check: bool = True) -> str:
    environment = {key: value for key, value in os.environ.items() if key in _CLUSTER or not key.startswith("SLURM_")}
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C must not end a submission half-way
            check=False,
        )
    except FileNotFoundError as error:
        raise SlurmError(f"{program}: no such program; run the sweep where jobs of SLURM can be submitted") from error
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{program}: no answer within {_TIMEOUT:.0f} s", passing=True) from error
    if check and done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if "Try " not in line]
        message = next((line for line in reversed(lines) if line), f"exit status {done.returncode}")
        message = message.removeprefix(f"{program}: ").removeprefix("error: ")
        raise SlurmError(f"{program}: {message}", passing=bool(_PASSING.search(done.stderr)))
    return done.stdout
