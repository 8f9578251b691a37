"""Sweep of trials that only write metrics, with the real controller and launcher.

python -m tests.sweeps.noop_sweep FOLDER TRIALS JOBS SECONDS
"""

import sys
import time
from pathlib import Path

from svilm_jax.sweeps.controller import Sweep, held_folder, run_sweep
from svilm_jax.sweeps.launchers.local import LocalLauncher
from svilm_jax.sweeps.plan import extended, make_trial, read_plan, write_plan

PROGRAM = Path(__file__).with_name("noop_trial.py")


def noop_command(seconds: float, *options: str):
    """Returns the function that makes the command of a trial."""

    def command(trial, folder):
        return [sys.executable, "-I", "-S", str(PROGRAM), str(folder), str(seconds), *options]

    return command


def trials(count: int):
    configs = [{"train.seed": seed, "optimizer.learning_rate": 0.1 / (seed % 3 + 1)} for seed in range(count)]
    return [make_trial(config, config, config) for config in configs]


def run(folder: Path, count: int, jobs: int, seconds: float, *options: str, retries: int = 1) -> int:
    with held_folder(folder):
        plan = extended(read_plan(folder), trials(count))
        write_plan(folder, plan)
        wanted = frozenset(trial.id for trial in plan)
        return run_sweep(Sweep(folder, plan, wanted, noop_command(seconds, *options), retries), LocalLauncher(jobs))


if __name__ == "__main__":
    started = time.monotonic()
    status = run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), *sys.argv[5:])
    print(f"{time.monotonic() - started:.2f}")
    sys.exit(status)
