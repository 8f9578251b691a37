"""Sweep of trials that train nothing, on SLURM, with the real controller.

python -m tests.slurm.noop_sweep FOLDER TRIALS FILE
"""

import sys
from pathlib import Path

from svilm_jax.sweeps.controller import Sweep, held_folder, run_sweep
from svilm_jax.sweeps.launchers.slurm import SlurmLauncher
from svilm_jax.sweeps.plan import extended, read_plan, write_plan
from tests.sweeps.noop_sweep import trials

PROGRAM = Path(__file__).with_name("waiting_trial.py")
OPTIONS = {"partition": "low", "cpus-per-task": "1", "time": "60"}


def run(folder: Path, count: int, file: Path, retries: int = 1, **options: str) -> int:
    def command(trial, workdir):
        return [sys.executable, "-I", "-S", str(PROGRAM), str(workdir), str(file)]

    launcher = SlurmLauncher(folder, OPTIONS | options, array_size=count if count <= 8 else 5, poll_seconds=0.5)
    with held_folder(folder):
        plan = extended(read_plan(folder), trials(count))
        write_plan(folder, plan)
        wanted = frozenset(trial.id for trial in plan)
        return run_sweep(Sweep(folder, plan, wanted, command, retries), launcher)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
