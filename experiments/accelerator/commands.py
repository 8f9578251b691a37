"""`svilm` commands run in subprocesses, as a user would run them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path


def svilm(arguments: Sequence[str], seconds: float, **environment: str) -> float:
    """Runs a command; returns its duration in seconds.

    Raises:
      RuntimeError: it failed or took longer than `seconds`; the message contains the end of its output.
    """
    started = time.monotonic()
    command = [sys.executable, "-m", "svilm_jax.main", *arguments]
    try:
        result = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            timeout=max(seconds, 1.0), env={**os.environ, **environment}, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode(errors="replace") if isinstance(error.stdout, bytes) else error.stdout
        raise RuntimeError(
            f"svilm {arguments[0]}: not finished within {seconds:.0f} s:\n{(output or '')[-3000:]}"
        ) from error
    print(result.stdout[-2000:])
    if result.returncode:
        raise RuntimeError(f"svilm {arguments[0]}: exit status {result.returncode}:\n{result.stdout[-3000:]}")
    return time.monotonic() - started


def svilm_until(arguments: Sequence[str], enough: Callable[[], bool], seconds: float, log: Path) -> int:
    """Runs a command until `enough()`, then ends it by SIGTERM; returns its exit status.

    Raises:
      RuntimeError: it ended, or the time was up, before `enough()`; the message contains the end of its output.
    """
    end = time.monotonic() + seconds
    with log.open("w") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "svilm_jax.main", *arguments], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while not enough():
                if child.poll() is not None or time.monotonic() > end:
                    why = f"exit status {child.returncode}" if child.poll() is not None else "the time is up"
                    raise RuntimeError(f"svilm {arguments[0]}: {why}:\n{log.read_text(errors='replace')[-3000:]}")
                time.sleep(0.2)
            child.send_signal(signal.SIGTERM)
            return child.wait(120)
        finally:
            child.kill()
            child.wait()
