"""Supervisor of one trial, a script: runs a command and appends its start and its end to a file.

    python supervisor.py ATTEMPTS DEVICES COMMAND...

It outlives the controller of the sweep, so that the exit status of a trial is known even if the controller was killed.
SIGTERM and the other stop signals are forwarded to the command. Inherited file descriptors stay open in both
processes: the lock of the trial is held until the last of them ends. Only the standard library is imported, without
packages, so that it starts in a few milliseconds.
"""

import json
import os
import signal
import sys
import time

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def main(attempts: str, devices: str, *command: str) -> int:
    """Runs the command.

    Args:
      attempts: the file, created if it is missing.
      devices: those of the trial, as in CUDA_VISIBLE_DEVICES; only recorded.
      *command: the program and its arguments.

    Returns:
      The exit status of the command, or 128 + the number of the signal that ended it.
    """
    stopped = False
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # until there is a process to forward them to
    append(attempts, {"event": "start", "time": time.time(), "pid": os.getpid(), "devices": devices})
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        try:
            os.execvp(command[0], command)
        finally:
            os._exit(127)

    def forward(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True
        os.kill(child, signal.SIGTERM)

    for number in STOPPING:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    # Waits without reaping, so that the process id stays valid for `forward`.
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    append(attempts, {"event": "end", "time": time.time(), "status": status, "stopped": stopped})
    return status if status >= 0 else 128 - status


def append(file: str, record: dict[str, object]) -> None:
    """Appends one line in a single write."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, (json.dumps(record) + "\n").encode())
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
