"""`svilm` in a process that waits before a given step of its own until a signal arrives.

Usage: python -m tests.slurm.held_at_step STEP FILE ARGUMENTS

FILE appears when it waits, with the number of restarts of the job appended to its name. After FILE.go appears, further
starts do not wait.
"""

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from svilm_jax import main
from svilm_jax.training import loop


def hold_at(step: int, file: Path) -> None:
    """Signals come from outside and arrive inside the running loop; how fast the machine is makes no difference."""
    original, calls = loop.to_global_batch, iter(range(1, 1_000_000))

    def held(*arguments: Any) -> Any:
        if next(calls) == step:
            reader, writer = socket.socketpair()
            writer.setblocking(False)
            before = signal.set_wakeup_fd(writer.fileno())  # a byte for each signal that has a handler
            file.touch()
            reader.recv(1)
            signal.set_wakeup_fd(before)
        return original(*arguments)

    loop.to_global_batch = held


if __name__ == "__main__":
    marker = Path(sys.argv[2])
    if not marker.with_suffix(".go").exists():
        hold_at(int(sys.argv[1]), marker.with_suffix(f".{os.environ.get('SLURM_RESTART_COUNT', '0')}"))
    sys.argv[1:] = sys.argv[3:]
    sys.exit(main.main())
