"""SLURM launcher: runs the trials of a sweep as job arrays.

Trials go on without the controller, which may be killed on its login node and started again on another one: a task
that ends with status 75 requeues itself. What makes sure that no trial runs twice:

- Everything that a job array needs is written before it is submitted, in a folder whose name is the name of the job
  (`submission.py`). A controller that was killed at any time therefore finds its jobs by name, with no job id to lose.
- A task starts only if it gets the claim of its index (`task.py`). Before a trial is submitted again, its earlier
  claims are made void, and the queue is asked about them once more: a job that appears late does nothing.
- An unanswered question is no answer: a trial has ended only if `squeue` works and does not list it as active.

The arrays are submitted by `sbatch` with a script and not through the library submitit, which was considered. It
pickles the function of every task, and moves the pickles to their place only after the array is submitted: if the
controller is killed in between, all its tasks fail. Its signal handler ignores SIGTERM, and on SIGUSR2 requeues at
once, which kills a trial that is saving. It learns states from `sacct` only, which needs an accounting database. What
does not pickle, the text of a batch script, is private in it.
"""

import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from svilm_jax.config import ConfigError
from svilm_jax.sweeps.attempts import ATTEMPTS, read_history
from svilm_jax.sweeps.launchers.launcher import LOG, Job
from svilm_jax.sweeps.launchers.slurm.commands import (
    ArrayTask,
    SlurmError,
    list_tasks,
    max_array_size,
    stop_tasks,
    submit_array,
)
from svilm_jax.sweeps.launchers.slurm.submission import (
    VOID,
    Entry,
    output_of,
    read_submissions,
    script_of,
    write_submission,
)
from svilm_jax.sweeps.supervisor import append

RESERVED = ("array", "error", "job-name", "no-requeue", "open-mode", "output", "parsable", "requeue", "wait", "wrap")
DEFAULTS = {"signal": "USR1@120"}  # two minutes before the time limit, a trial is asked to save
_LATE_POLLS = 6  # until a claim that is missing after the end of its job was never made; by default, a minute
_RETRY_SECONDS = 60.0  # until a refused submission is tried again
# States in which a job ends that is not expected to do better next time, unlike after a preemption or a lost node.
_FAILED = frozenset(("DEADLINE", "FAILED", "OUT_OF_MEMORY", "TIMEOUT"))


class SlurmLauncher:
    """Submits trials in job arrays, and finds them in the queue."""

    def __init__(
        self,
        folder: Path,
        options: Mapping[str, str],
        jobs: int = 0,
        array_size: int = 0,
        poll_seconds: float = 10.0,
    ):
        """Asks SLURM for its limit of job arrays.

        Args:
          folder: of the sweep, on a file system that the nodes share.
          options: long options of `sbatch`, such as `{"partition": "gpu"}`; "" for one without a value.
          jobs: number of trials in the queue at once; 0: all.
          array_size: number of trials in a job array; 0: as many as the cluster allows.
          poll_seconds: between two looks at the queue.

        Raises:
          ConfigError: an option that the launcher sets itself.
          SlurmError: SLURM is not installed here, or does not answer.
        """
        for key in options:
            if key in RESERVED:
                raise ConfigError(f"--slurm {key}: set by the launcher itself; remove it")
        self._folder, self._options, self._jobs = folder, {**DEFAULTS, **options}, jobs
        self._limit = min(array_size or sys.maxsize, max_array_size())
        self._poll_seconds = poll_seconds
        self._waiting: dict[str, Job] = {}  # not submitted yet
        self._active: dict[str, Entry] = {}
        self._stopped: set[str] = set()  # active jobs that were asked to end
        self._unclaimed: dict[str, float] = {}  # jobs that seem to have ended before they started, and since when
        self._entries: dict[str, list[Entry]] = {}  # all of each trial, earlier ones first
        self._poll_due = self._submit_due = 0.0

    def adopt(self, jobs: list[Job]) -> None:
        """Takes over the jobs in the queue that an earlier controller submitted.

        Raises:
          SlurmError: the queue is not known.
        """
        for entry in read_submissions(self._folder, {job.id: job for job in jobs}):
            self._entries.setdefault(entry.job.id, []).append(entry)
        if not self._entries:
            return
        tasks = {(task.name, task.index): task for task in list_tasks()}
        for id, entries in self._entries.items():
            active = [entry for entry in entries if entry.key in tasks and tasks[entry.key].is_active]
            if active:
                self._active[id] = active[-1]
            elif entries[-1].holder() not in ("", VOID):
                self._settle(entries[-1], tasks.get(entries[-1].key))
        self._poll_due = time.monotonic() + self._poll_seconds

    def start(self, job: Job) -> None:
        """Adds a job to the array that is submitted next."""
        self._waiting[job.id] = job

    def active(self) -> set[str]:
        """Submits the jobs that were started, and returns the ids of those that have not ended.

        Raises:
          SlurmError: a submission is refused, and no other job is active that it could wait for.
        """
        if self._waiting and time.monotonic() >= self._submit_due:
            self._submit()
        if self._active and time.monotonic() >= self._poll_due:
            self._poll()
        return self._waiting.keys() | self._active.keys()

    def free(self) -> bool:
        """Returns whether another job may enter the queue."""
        return not self._jobs or len(self._waiting) + len(self._active) < self._jobs

    def stop(self, ids: set[str]) -> None:
        """Removes jobs that wait from the queue, and sends SIGTERM to those that run; none of them is requeued.

        Repeated with every look at the queue until they have left it, since a command of SLURM may fail.
        """
        for id in ids:
            self._waiting.pop(id, None)
        new = (ids & self._active.keys()) - self._stopped
        for id in new:
            self._active[id].void()
        self._stopped |= new
        if new:
            self._poll()

    def _submit(self) -> None:
        """Submits what waits; what cannot be submitted now is tried again later."""
        if not self._find_submitted():
            return
        while self._waiting:
            entries = write_submission(self._folder, list(self._waiting.values())[: self._limit])
            for entry in entries:
                self._entries.setdefault(entry.job.id, []).append(entry)
            submission = entries[0].folder
            try:
                script, output = script_of(submission), output_of(submission)
                submit_array(submission.name, script, len(entries), output, self._options)
            except SlurmError as error:
                self._refused(entries, error)
                return
            for entry in entries:
                self._active[entry.job.id] = entry
                del self._waiting[entry.job.id]
        self._poll_due = time.monotonic() + self._poll_seconds

    def _refused(self, entries: list[Entry], error: SlurmError) -> None:
        """Prepares another try of a submission.

        Raises:
          SlurmError: no other job is active that it could wait for.
        """
        if error.passing:  # whether the array is in the queue nevertheless is found out before the next try
            self._postpone(error)
            return
        for entry in entries:
            self._entries[entry.job.id].remove(entry)
        shutil.rmtree(entries[0].folder, ignore_errors=True)
        if not self._active:
            self._waiting.clear()
            raise SlurmError(f"{error} (check --partition and the other options of --launcher=slurm)") from error
        self._limit = max(1, len(entries) // 2)  # a limit on submitted jobs may have room for some
        self._postpone(error)

    def _find_submitted(self) -> bool:
        """Makes earlier submissions of the waiting jobs void, and takes back those that are in the queue after all.

        Returns:
          Whether the queue is known.
        """
        earlier = [entry for id in self._waiting for entry in self._entries.get(id, ())]
        for entry in earlier:
            entry.void()
        tasks = self._look(earlier) if earlier else {}
        if tasks is None:
            return False
        for entry in earlier:
            if entry.key in tasks and tasks[entry.key].is_active:
                self._active[entry.job.id] = entry
                self._waiting.pop(entry.job.id, None)
        return True

    def _poll(self) -> None:
        """Takes note of the jobs that have left the queue, and ends those that are to be stopped."""
        self._poll_due = time.monotonic() + self._poll_seconds
        if (tasks := self._look(self._active.values())) is None:
            return
        for id, entry in list(self._active.items()):
            task = tasks.get(entry.key)
            if (task is None or not task.is_active) and not self._may_appear(entry):
                del self._active[id]
                self._stopped.discard(id)
                self._settle(entry, task)
        stopped = [tasks.get(self._active[id].key) for id in sorted(self._stopped)]
        stop_tasks([task.id for task in stopped if task and task.is_active])

    def _may_appear(self, entry: Entry) -> bool:
        """Returns whether the claim of a job that has ended may still appear: network file systems show it late."""
        if entry.holder():
            self._unclaimed.pop(entry.job.id, None)
            return False
        since = self._unclaimed.setdefault(entry.job.id, time.monotonic())
        if time.monotonic() - since < _LATE_POLLS * self._poll_seconds:
            return True
        del self._unclaimed[entry.job.id]
        return False

    def _look(self, entries: Iterable[Entry]) -> dict[tuple[str, int], ArrayTask] | None:
        """Returns the tasks of submissions that the queue lists; None if it gives no answer."""
        try:
            tasks = list_tasks(entry.folder.name for entry in entries)
        except SlurmError as error:
            self._postpone(error)
            return None
        return {(task.name, task.index): task for task in tasks}

    def _postpone(self, error: SlurmError) -> None:
        print(f"sweep: {error}; tried again in {_RETRY_SECONDS:.0f} s", file=sys.stderr, flush=True)
        self._poll_due = self._submit_due = time.monotonic() + _RETRY_SECONDS

    def _settle(self, entry: Entry, task: ArrayTask | None) -> None:
        """Records the end of a job whose supervisor could not record it, as a failure if the job itself failed."""
        holder, history = entry.holder(), read_history(entry.job.folder)
        if holder == VOID:
            return
        now = {"time": time.time()}
        if not holder:
            _note(entry, "the job ended before the trial started")
            append(str(entry.job.folder / ATTEMPTS), {"event": "start", "pid": 0, "devices": "", **now})
        elif history.status is not None or task is None or task.state not in _FAILED:
            return
        else:
            _note(entry, f"the job ended in state {task.state}")
        append(str(entry.job.folder / ATTEMPTS), {"event": "end", "status": 1, "stopped": False, **now})


def _note(entry: Entry, text: str) -> None:
    with (entry.job.folder / LOG).open("a") as log:
        log.write(f"{text}; see {entry.output}\n")
