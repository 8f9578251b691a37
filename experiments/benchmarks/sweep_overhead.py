"""Overhead of a sweep: time of the controller and the local launcher per trial that does nothing.

    python experiments/benchmarks/sweep_overhead.py --trials 200

A trial is `python -c pass` that leaves a file of metrics; its own time, started alone, is subtracted. The files of
results are rewritten after every trial, as in a real sweep.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from svilm_jax.sweeps.controller import Sweep, held_folder, run_sweep
from svilm_jax.sweeps.launchers.local import LocalLauncher
from svilm_jax.sweeps.plan import Trial, make_trial, write_plan

_METRICS = "import sys; open(sys.argv[1], 'w').write('{}')"


def command(trial: Trial, folder: Path) -> list[str]:
    """Returns the command of a trial."""
    return [sys.executable, "-I", "-S", "-c", _METRICS, str(folder / "metrics.json")]


def main() -> None:
    """Measures, and prints the seconds per trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    configs = [{"train.seed": seed} for seed in range(args.trials)]
    plan = [make_trial(config, config, config) for config in configs]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with held_folder(folder / "sweep"):
            write_plan(folder / "sweep", plan)
            started = time.monotonic()
            wanted = frozenset(trial.id for trial in plan)
            status = run_sweep(Sweep(folder / "sweep", plan, wanted, command), LocalLauncher(args.jobs))
            seconds = time.monotonic() - started
        if status:
            raise SystemExit(f"the sweep ended with status {status}")
        started = time.monotonic()
        for _ in range(20):
            subprocess.run(command(plan[0], folder), check=True)
        alone = (time.monotonic() - started) / 20
    overhead = seconds / args.trials - alone / args.jobs
    print(f"{args.trials} trials, {args.jobs} at once: {seconds:.2f} s; overhead {overhead:.4f} s per trial")


if __name__ == "__main__":
    main()
