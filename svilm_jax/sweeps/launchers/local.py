"""Local launcher: a pool of processes on this machine, each with its own GPUs and its share of the CPU cores."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

from svilm_jax.config import ConfigError
from svilm_jax.sweeps import supervisor
from svilm_jax.sweeps.attempts import ATTEMPTS, read_history
from svilm_jax.sweeps.launchers.launcher import LOG, THREAD_VARIABLES, Job

LOCK = "trial.lock"  # held by the supervisor of a trial and by the trial


class LocalLauncher:
    """Runs up to `jobs` trials at once.

    A trial is alive exactly while its lock file is locked: the lock is acquired before its supervisor starts, which
    inherits it. A controller that finds the lock held therefore knows that the trial of an earlier controller goes on.
    """

    def __init__(self, jobs: int = 0, gpus_per_trial: int = 0, gpus: tuple[str, ...] = ()):
        """Divides the machine into slots.

        Args:
          jobs: number of trials at once; 0: as many as the GPUs suffice for, or one without GPUs.
          gpus_per_trial: GPUs of each trial; 0: trials see all devices of this process.
          gpus: the GPUs to divide, as in CUDA_VISIBLE_DEVICES.

        Raises:
          ConfigError: fewer GPUs than the trials need.
        """
        slots = len(gpus) // gpus_per_trial if gpus_per_trial else max(jobs, 1)
        if not slots or jobs > slots:
            needed = f"{max(jobs, 1)} x {gpus_per_trial}"
            raise ConfigError(f"--gpus-per-trial={gpus_per_trial}: {len(gpus)} GPUs are visible, {needed} are needed")
        slots = jobs or slots
        self._slots = [",".join(gpus[i * gpus_per_trial : (i + 1) * gpus_per_trial]) for i in range(slots)]
        self._threads = max(1, len(os.sched_getaffinity(0)) // slots)
        self._started: dict[str, tuple[Job, subprocess.Popen[bytes], int]] = {}
        self._adopted: dict[str, Job] = {}

    @property
    def slots(self) -> int:
        """Number of trials at once."""
        return len(self._slots)

    def adopt(self, jobs: list[Job]) -> None:
        """Takes over the jobs whose lock is held by processes that an earlier controller started."""
        self._adopted = {job.id: job for job in jobs if _is_locked(job)}

    def start(self, job: Job) -> None:
        """Starts the supervisor of a job, in a session of its own, so that Ctrl-C reaches only the controller."""
        slot = min(set(range(self.slots)) - self._occupied())
        lock = _acquire(job)
        if lock is None:  # unknown to `adopt`: another controller, on a file system whose locks do not exclude it
            self._adopted[job.id] = job
            return
        try:
            with (job.folder / LOG).open("ab") as log:
                process = subprocess.Popen(
                    # No site packages: the script starts in a few milliseconds.
                    [sys.executable, "-I", "-S", supervisor.__file__, str(job.folder / ATTEMPTS), self._slots[slot]]
                    + list(job.command),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._environment(slot),
                    pass_fds=(lock,),
                    start_new_session=True,
                )
        finally:
            os.close(lock)  # the supervisor has its own copy, and the lock ends with the last one
        self._started[job.id] = (job, process, slot)

    def active(self) -> set[str]:
        """Returns the ids of the jobs that have not ended."""
        for id, (_, process, _) in list(self._started.items()):
            if process.poll() is not None:
                job, _, _ = self._started.pop(id)
                if process.returncode < 0 and _is_locked(job):  # the supervisor was killed, and the trial goes on
                    self._adopted[id] = job
        self._adopted = {id: job for id, job in self._adopted.items() if _is_locked(job)}
        return self._started.keys() | self._adopted.keys()

    def free(self) -> bool:
        """Returns whether a slot is free."""
        return len(self._occupied()) < self.slots

    def stop(self, ids: set[str]) -> None:
        """Sends SIGTERM to the supervisors of active jobs, which forward it."""
        for id in ids & self._started.keys():
            self._started[id][1].send_signal(signal.SIGTERM)
        for id in ids & self._adopted.keys():
            job = self._adopted[id]
            pid = read_history(job.folder).pid
            if _is_supervisor(pid, job):
                os.kill(pid, signal.SIGTERM)

    def _occupied(self) -> set[int]:
        """Returns the slots in use. An adopted job occupies those whose GPUs it has, or else any one."""
        occupied = {slot for _, _, slot in self._started.values()}
        for job in self._adopted.values():
            devices = set(filter(None, read_history(job.folder).devices.split(",")))
            shared = {slot for slot, own in enumerate(self._slots) if devices & set(own.split(","))}
            left = sorted(set(range(self.slots)) - occupied)
            occupied |= shared or set(left[:1])
        return occupied

    def _environment(self, slot: int) -> dict[str, str]:
        environment = dict(os.environ)
        if self._slots[slot]:
            environment["CUDA_VISIBLE_DEVICES"] = self._slots[slot]
        if self.slots > 1:
            for name in THREAD_VARIABLES:  # those that are set already are left alone
                environment.setdefault(name, str(self._threads))
        return environment


def visible_gpus() -> tuple[str, ...]:
    """Returns the NVIDIA GPUs that this process may use: those of CUDA_VISIBLE_DEVICES, or all of the machine."""
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return tuple(device.strip() for device in given.split(",") if device.strip())
    return tuple(str(number) for number, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*")))


def _acquire(job: Job) -> int | None:
    """Acquires the lock of a job; returns its file descriptor, or None if another process holds it."""
    descriptor = os.open(job.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _is_locked(job: Job) -> bool:
    if not (job.folder / LOCK).is_file():
        return False
    descriptor = _acquire(job)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


def _is_supervisor(pid: int, job: Job) -> bool:
    """Returns whether a process is the supervisor of a job, and not a later process with the same number."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.fsencode(job.folder / ATTEMPTS) in command
