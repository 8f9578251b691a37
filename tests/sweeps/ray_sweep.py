"""Sweep of trials that only write metrics, with the real controller on a Ray cluster.

python -m tests.sweeps.ray_sweep ADDRESS FOLDER TRIALS JOBS COMMAND... (`{}` stands for the folder of the trial)
"""

import sys
from pathlib import Path

from svilm_jax.sweeps.controller import Sweep, held_folder, run_sweep
from svilm_jax.sweeps.launchers.ray import RayLauncher
from svilm_jax.sweeps.plan import extended, read_plan, write_plan
from tests.sweeps.noop_sweep import trials


def run(address: str, folder: Path, count: int, jobs: int, words: list[str], **options: float) -> int:
    launcher = RayLauncher(address, jobs, **options)

    def command(trial, folder):
        return [word.replace("{}", str(folder)) for word in words]

    with held_folder(folder):
        plan = extended(read_plan(folder), trials(count))
        write_plan(folder, plan)
        return run_sweep(Sweep(folder, plan, frozenset(trial.id for trial in plan), command), launcher)


if __name__ == "__main__":
    address, folder, count, jobs, *words = sys.argv[1:]
    sys.exit(run(address, Path(folder), int(count), int(jobs), words))
