"""`svilm` in a process that sends itself signals before a given step, on any machine at the same one.

Usage: python -m tests.training.stopped_at_step STEP SIGNAL[,SIGNAL...] ARGUMENTS
"""

import os
import signal
import sys
from typing import Any

from svilm_jax import main
from svilm_jax.training import loop


def stop_at(step: int, signals: list[signal.Signals]) -> None:
    """The signals are real and arrive inside the running loop; how fast the machine is makes no difference."""
    original, calls = loop.to_global_batch, iter(range(1, 1_000_000))

    def counted(*arguments: Any) -> Any:
        if next(calls) == step:
            for number in signals:
                os.kill(os.getpid(), number)
        return original(*arguments)

    loop.to_global_batch = counted


if __name__ == "__main__":
    stop_at(int(sys.argv[1]), [signal.Signals[name] for name in sys.argv[2].split(",")])
    sys.argv[1:] = sys.argv[3:]
    sys.exit(main.main())
