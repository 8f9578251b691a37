"""Submissions of a sweep to SLURM: one folder per job array, with its trials, its batch script and its claims."""

import contextlib
import dataclasses
import json
import re
import shlex
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.filesystem.log_lines import read_lines
from svilm_jax.sweeps.attempts import ATTEMPTS
from svilm_jax.sweeps.launchers.launcher import LOG, Job
from svilm_jax.sweeps.launchers.slurm import task

FOLDER = "slurm"  # in the folder of the sweep
VOID = "void"  # claim of a task that must not run
_SCRIPT = "batch.sh"


@dataclasses.dataclass(frozen=True)
class Entry:
    """Place of a trial in a job array.

    Attributes:
      folder: of the submission; its name is the name of the job.
      index: of the task.
      job: the trial.
    """

    folder: Path
    index: int
    job: Job

    @property
    def key(self) -> tuple[str, int]:
        """Name of the job and index of the task."""
        return self.folder.name, self.index

    @property
    def output(self) -> Path:
        """Output of the batch script; that of the trial is in its own folder."""
        return self.folder / f"{self.index}.out"

    def holder(self) -> str:
        """Returns the id of the task that started, `VOID`, or "" if it has not started."""
        return task.holder(self.folder, self.index)

    def void(self) -> None:
        """Prevents that the task starts, or that it is started again if it has."""
        if task.claim(self.folder, self.index, VOID) != VOID:
            new = self.folder / f".claim.{self.index}.{uuid.uuid4().hex[:12]}"
            new.symlink_to(VOID)
            new.replace(self.folder / f"claim.{self.index}")


def write_submission(folder: Path, jobs: Sequence[Job]) -> list[Entry]:
    """Writes what the tasks of a job array need.

    Args:
      folder: of the sweep.
      jobs: the trials.

    Returns:
      One entry per job, with a submission of which SLURM does not know yet.
    """
    sweep = re.sub(r"[^\w.-]", "_", folder.absolute().name, flags=re.ASCII)
    submission = folder.absolute() / FOLDER / f"{sweep}-{uuid.uuid4().hex[:12]}"
    submission.parent.mkdir(exist_ok=True)
    with atomic_write(submission) as temporary:
        temporary.mkdir()
        (temporary / task.JOBS).write_text("".join(json.dumps(_record(job)) + "\n" for job in jobs))
        (temporary / _SCRIPT).write_text(_script(submission))
    return [Entry(submission, index, job) for index, job in enumerate(jobs)]


def script_of(submission: Path) -> str:
    """Returns the path of the batch script."""
    return str(submission / _SCRIPT)


def output_of(submission: Path) -> str:
    """Returns the pattern of the output files of the batch scripts."""
    return str(submission / "%a.out")


def read_submissions(folder: Path, jobs: Mapping[str, Job]) -> list[Entry]:
    """Returns the places of the given trials in all submissions of a sweep, oldest submission first."""
    root = folder.absolute() / FOLDER
    found = []
    for submission in root.iterdir() if root.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):  # incomplete, of a launcher that was killed
            found.append(((submission / task.JOBS).stat().st_mtime_ns, submission))
    entries = []
    for _, submission in sorted(found):
        if submission.name.startswith("."):
            continue
        for index, record in enumerate(read_lines(submission / task.JOBS)):
            if record["id"] in jobs:
                entries.append(Entry(submission, index, jobs[record["id"]]))
    return entries


def _record(job: Job) -> dict[str, object]:
    folder = job.folder.absolute()
    return {
        "id": job.id,
        "folder": str(folder),
        "command": job.command,
        "attempts": str(folder / ATTEMPTS),
        "log": str(folder / LOG),
    }


def _script(submission: Path) -> str:
    run = shlex.join([sys.executable, "-I", "-S", str(Path(task.__file__).absolute())])
    return f"""#!/bin/bash
# In a step, by srun: signals of a preemption or of a time limit reach the processes of steps, but not this script.
# Since SLURM 22.05, srun does not take the number of cores from the job.
test -z "$SLURM_CPUS_PER_TASK" || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
srun {run} run {shlex.quote(str(submission))}
{run} finish {shlex.quote(str(submission))} $?
"""
