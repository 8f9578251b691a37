"""Ray launcher: every attempt at a trial is one job of a Ray cluster, submitted through the dashboard of its head."""

import contextlib
import dataclasses
import hashlib
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from svilm_jax.config import ConfigError
from svilm_jax.errors import UserError
from svilm_jax.filesystem.log_lines import read_lines
from svilm_jax.sweeps import supervisor
from svilm_jax.sweeps.attempts import ATTEMPTS
from svilm_jax.sweeps.launchers.launcher import LOG, THREAD_VARIABLES, Job

DEFAULT_ADDRESS = "http://127.0.0.1:8265"  # of the dashboard that `ray start --head` opens
EXIT_NOT_STARTED = 127  # status of an attempt that Ray gave up before its supervisor ran, as of a shell
_POLL_SECONDS = 1.0  # between two looks at the jobs
_NO_SUCH_JOB = "status code 404"
# Of a proxy in front of the dashboard, or of the dashboard until an agent has registered at a cluster that starts.
_UNAVAILABLE = re.compile(r"status code 5\d\d\b")


class RayError(UserError):
    """A Ray cluster that cannot be reached, or that refuses a job."""


@dataclasses.dataclass
class _Attempt:
    """An attempt at a trial.

    Attributes:
      job: the trial.
      number: of the attempt, from 0: the number of starts that its file had before.
      submission: id of the Ray job; "" until it is submitted.
      stop: whether the job is to be stopped, and Ray does not know it yet.
    """

    job: Job
    number: int
    submission: str = ""
    stop: bool = False


class RayLauncher:
    """Runs up to `jobs` trials at once on the nodes of a Ray cluster, which share the file system of the sweep.

    The id of a submission is made of the folder of the sweep, the trial and the number of starts in its attempts. Ray
    accepts an id once, so that neither a second controller nor a request that was sent twice starts an attempt twice.
    Ray's status only says that a job has ended; how, is what the supervisor wrote into the attempts.
    """

    def __init__(
        self,
        address: str = "",
        jobs: int = 0,
        cpus: float = 1.0,
        gpus: float = 0.0,
        save_seconds: int = 600,
        settle_seconds: float = 30.0,
    ):
        """Connects to the cluster.

        Args:
          address: of the dashboard, http://HOST:PORT; "": from RAY_API_SERVER_ADDRESS or RAY_ADDRESS, or else
            `DEFAULT_ADDRESS`.
          jobs: number of trials at once; 0: one.
          cpus: logical CPUs that Ray reserves for a trial. Without any, Ray would run all trials on the head node.
          gpus: GPUs of a trial.
          save_seconds: time from the stop of a job to SIGKILL.
          settle_seconds: time from the end of a job until its attempt counts as lost if no end was recorded: a network
            file system may show what another machine wrote a little later.

        Raises:
          ConfigError: Ray is not installed, or impossible resources.
          RayError: no dashboard answers at the address.
        """
        if cpus <= 0:
            raise ConfigError(f"--cpus-per-trial={cpus:g}: expected a number above 0")
        try:
            from ray.job_submission import JobSubmissionClient
        except ImportError as error:
            raise ConfigError(f"--launcher=ray needs Ray ({error}): pip install 'svilm_jax[ray]'") from error
        if address:
            os.environ["RAY_API_SERVER_ADDRESS"] = address  # which Ray prefers to the argument, and to RAY_ADDRESS
        try:
            self._client = JobSubmissionClient(address or _address_of_environment())
        except (OSError, RuntimeError, ValueError) as error:
            where = f"--ray-address={address or _address_of_environment()}"
            raise RayError(
                f"{where}: no Ray dashboard answers there ({_line(error)}); expected http://HOST:PORT of the head, "
                "whose port is 8265 unless `ray start --head --dashboard-port` set another"
            ) from error
        self._slots = max(jobs, 1)
        self._resources = {"entrypoint_num_cpus": cpus, "entrypoint_num_gpus": gpus}
        self._environment = {
            "RAY_JOB_STOP_WAIT_TIME_S": str(save_seconds),  # read by Ray's own supervisor of the job; 3 s otherwise
            **dict.fromkeys(THREAD_VARIABLES, str(max(1, int(cpus)))),
        }
        self._settle_seconds = settle_seconds
        self._attempts: dict[str, _Attempt] = {}
        self._due = 0.0
        self._silent = False  # whether the last request got no answer

    def adopt(self, jobs: list[Job]) -> None:
        """Takes over the jobs that an earlier controller submitted and that have not ended.

        Raises:
          RayError: the cluster does not answer.
        """
        by_prefix = {_prefix(job): job for job in jobs}
        try:
            known = self._client.list_jobs()
        except (OSError, RuntimeError) as error:
            raise RayError(f"Ray does not list its jobs: {_line(error)}") from error
        for details in known:
            prefix, _, number = _without_repetition(details.submission_id or "").rpartition("-")
            if (job := by_prefix.get(prefix)) and number.isdigit():
                attempt = _Attempt(job, int(number), details.submission_id)
                if attempt.number >= _starts(job) - 1 and not self._is_over(attempt, details):
                    self._attempts[job.id] = attempt

    def start(self, job: Job) -> None:
        """Submits the next attempt at a job; if the cluster does not answer, `active` tries again."""
        attempt = _Attempt(job, _starts(job))
        self._attempts[job.id] = attempt
        self._submit(attempt)

    def active(self) -> set[str]:
        """Returns the ids of the jobs that have not ended, asking the cluster every second."""
        if time.monotonic() >= self._due:
            for id, attempt in list(self._attempts.items()):
                if self._has_ended(attempt):
                    del self._attempts[id]
            self._due = time.monotonic() + _POLL_SECONDS
        return set(self._attempts)

    def free(self) -> bool:
        """Returns whether another trial may be submitted."""
        return len(self._attempts) < self._slots

    def stop(self, ids: set[str]) -> None:
        """Asks Ray to send SIGTERM to the processes of active jobs, which have `save_seconds` to save and end.

        Jobs that wait for resources are not waited for: Ray stops them as soon as they start.
        """
        for id in ids & self._attempts.keys():
            attempt = self._attempts[id]
            attempt.stop = True
            self._request_stop(attempt)
            if not attempt.submission or (not attempt.stop and self._is_pending(attempt)):
                del self._attempts[id]

    def _submit(self, attempt: _Attempt) -> None:
        """Submits an attempt, unless Ray has it already."""
        with self._answering():
            name = base = f"{_prefix(attempt.job)}-{attempt.number}"
            repetition = 0
            # An id whose job ended before the supervisor ran is used up; it must not be deleted and used again.
            while (details := self._details(name)) is not None and details.status.is_terminal():
                repetition += 1
                name = f"{base}r{repetition}"
            if details is None:
                self._request_start(name, attempt.job)
            attempt.submission = name

    def _request_start(self, name: str, job: Job) -> None:
        try:
            self._client.submit_job(
                entrypoint=_entrypoint(job),
                submission_id=name,
                runtime_env={"env_vars": self._environment},
                metadata={"svilm_trial": job.id, "svilm_folder": str(job.folder.absolute())},
                **self._resources,
            )
        except RuntimeError as error:
            if "already exists" in str(error):  # a request of an earlier controller that arrived in the meantime
                return
            if _UNAVAILABLE.search(str(error)):
                raise
            raise RayError(f"Ray refuses the job of trial {job.id}: {_line(error)}") from error

    def _request_stop(self, attempt: _Attempt) -> None:
        if attempt.submission and attempt.stop:
            with self._answering():
                self._client.stop_job(attempt.submission)
                attempt.stop = False

    def _has_ended(self, attempt: _Attempt) -> bool:
        if not attempt.submission:
            self._submit(attempt)
            return False
        self._request_stop(attempt)
        with self._answering():
            details = self._details(attempt.submission)
            return details is None or self._is_over(attempt, details)  # None: the cluster was started anew
        return False

    def _is_over(self, attempt: _Attempt, details: Any) -> bool:
        """Returns whether an attempt has ended. Records those of which only Ray knows as failed."""
        if not details.status.is_terminal():
            return False
        started, ended = _recorded(attempt)
        if ended or time.time() - (details.end_time or 0) / 1000 < self._settle_seconds:
            return ended
        # A job that waited too long for resources, or was stopped while it waited, is not a failed attempt.
        waited = details.status == "STOPPED" or "failed to start within" in (details.message or "")
        if not started and not waited:
            _record_failure(attempt, details.message or "no message")
        if not started and waited and details.status != "STOPPED":
            print(f"trial {attempt.job.id} waits for resources: {_line(details.message)}", file=sys.stderr)
        return True

    def _is_pending(self, attempt: _Attempt) -> bool:
        with self._answering():
            details = self._details(attempt.submission)
            return details is None or details.status == "PENDING"
        return False

    def _details(self, submission: str) -> Any:
        """Returns what Ray knows about a job; None if it knows no such job."""
        try:
            return self._client.get_job_info(submission)
        except RuntimeError as error:
            if _NO_SUCH_JOB in str(error):
                return None
            raise

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """Leaves the context at a request that fails, which is reported once and does not end the sweep."""
        try:
            yield
            self._silent = False
        except (OSError, RuntimeError) as error:
            if not self._silent:
                print(f"Ray does not answer as expected, trying again: {_line(error)}", file=sys.stderr)
            self._silent = True


def _address_of_environment() -> str:
    return os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS") or DEFAULT_ADDRESS


def _prefix(job: Job) -> str:
    """Returns the part of the submission ids that all attempts at a trial share."""
    sweep = hashlib.sha256(os.fsencode(job.folder.absolute().parent)).hexdigest()[:8]
    return f"svilm-{sweep}-{job.id}"


def _without_repetition(submission: str) -> str:
    return re.sub(r"r\d+$", "", submission)


def _entrypoint(job: Job) -> str:
    """Returns the shell command of a job. `exec`: Ray waits for the shell, so that it must be the supervisor itself."""
    supervise = [sys.executable, "-I", "-S", supervisor.__file__, str((job.folder / ATTEMPTS).absolute())]
    output = shlex.quote(str((job.folder / LOG).absolute()))
    return (
        f"cd {shlex.quote(str(Path.cwd()))} && exec {shlex.join(supervise)} "
        f'"${{CUDA_VISIBLE_DEVICES:-}}" {shlex.join(job.command)} >> {output} 2>&1'
    )


def _starts(job: Job) -> int:
    return sum(event["event"] == "start" for event in read_lines(job.folder / ATTEMPTS))


def _recorded(attempt: _Attempt) -> tuple[bool, bool]:
    """Returns whether the supervisor recorded the start and the end of an attempt."""
    starts, ended = 0, False
    for event in read_lines(attempt.job.folder / ATTEMPTS):
        starts += event["event"] == "start"
        ended = ended or (event["event"] == "end" and starts == attempt.number + 1)
    return starts > attempt.number, ended


def _record_failure(attempt: _Attempt, message: str) -> None:
    """Records an attempt whose supervisor never ran, so that it counts among the retries."""
    file, now = str(attempt.job.folder / ATTEMPTS), time.time()
    supervisor.append(file, {"event": "start", "time": now, "pid": 0, "devices": ""})
    supervisor.append(file, {"event": "end", "time": now, "status": EXIT_NOT_STARTED, "stopped": False})
    with (attempt.job.folder / LOG).open("a") as log:
        log.write(f"Ray did not start the trial: {message.strip()}\n")


def _line(error: object) -> str:
    """Returns the last line of a message of Ray, which may be a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
