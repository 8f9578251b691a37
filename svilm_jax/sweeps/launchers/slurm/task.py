"""Task of a job array of SLURM, a script: runs the trial that belongs to its index, and requeues it if it has saved.

    python task.py run FOLDER              in every task of the job, by srun
    python task.py finish FOLDER STATUS    in the batch script, with the exit status of srun

The symbolic link FOLDER/claim.INDEX, made by whoever comes first, decides whether the trial runs: the task makes it
with its job id as target, the launcher with "void". Making a link is atomic on shared file systems too. Signals of
SLURM reach the supervisor and the trial, since they go to all processes of a step. Only the standard library is
imported, without packages, so that the script starts in a few milliseconds.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

JOBS = "jobs.jsonl"  # one line per index: id, folder and command of the trial, and where its output and attempts go
STOPPED = 75  # EXIT_STOPPED of the package, which is not imported here
_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_CLAIM_SECONDS = 300.0  # for the claim of another node to appear; network file systems remember that it is missing


def run(folder: Path) -> int:
    """Replaces this process by the trial, supervised in the first task of a job; returns 0 if it is not to run."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)  # the supervisor unblocks them
    index, own = _index(), _own_id()
    first = os.environ.get("SLURM_PROCID", "0") == "0"
    if (claim(folder, index, own) if first else _awaited_claim(folder, index)) != own:
        print(f"task {own}: not run, the sweep has stopped or replaced it", flush=True)
        return 0
    with (folder / JOBS).open() as file:
        job = [json.loads(line) for line in file][index]
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    command = job["command"]
    if first:
        supervisor = str(Path(__file__).parents[2] / "supervisor.py")
        devices = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        command = [sys.executable, "-I", "-S", supervisor, job["attempts"], devices, *command]
    else:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    return os.execvp(command[0], command)


def finish(folder: Path, status: int) -> int:
    """Requeues the job of a trial that has saved, unless the launcher stopped it; returns the status."""
    own = _own_id()
    if status == STOPPED and holder(folder, _index()) == own:
        # By the id of the array and the index: SLURM_JOB_ID of one of the tasks stands for the whole array.
        done = subprocess.run(["scontrol", "requeue", own], check=False)
        if done.returncode:
            print(f"task {own}: could not be requeued; the sweep submits it again", flush=True)
    return status


def claim(folder: Path, index: int, mine: str) -> str:
    """Makes the claim unless it exists; returns who holds it."""
    try:
        (folder / f"claim.{index}").symlink_to(mine)
    except FileExistsError:
        return holder(folder, index)
    return mine


def holder(folder: Path, index: int) -> str:
    """Returns who holds the claim; "": nobody."""
    try:
        return str((folder / f"claim.{index}").readlink())
    except FileNotFoundError:
        return ""


def _awaited_claim(folder: Path, index: int) -> str:
    end = time.monotonic() + _CLAIM_SECONDS
    while not (found := holder(folder, index)) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def _index() -> int:
    return int(os.environ["SLURM_ARRAY_TASK_ID"])


def _own_id() -> str:
    return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{_index()}"


if __name__ == "__main__":
    action, place, *rest = sys.argv[1:]
    sys.exit(run(Path(place)) if action == "run" else finish(Path(place), int(rest[0])))
