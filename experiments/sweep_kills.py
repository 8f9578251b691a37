"""Fault-injection study of sweeps: a controller that is killed at random times, compared with an undisturbed one.

    python -m experiments.sweep_kills --dataset runs/data/moving_shapes --kills 5 \\
        --out experiments/results/sweep_kills.json

Twelve short trainings of the demo (four learning rates, three seeds). The controller is ended by SIGKILL at a random
time, drawn from a seed, while its trials go on, and started again. In the end, every trial must have completed exactly
one training, and results.csv must equal that of the undisturbed sweep byte for byte.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from svilm_jax.filesystem.log_lines import read_lines
from svilm_jax.sweeps.results import CSV

SWEEP = """from svilm_configs.pretrain import demo

def get_config(arg=None):
    config = demo.get_config(arg)
    config.model.video.update({"image_size": 32, "num_layers": 1})
    config.model.grouping.after_layers = (1,)
    config.train.update({"steps": 4, "batch_size": 8, "checkpoint_every": 2, "log_every": 1})
    config.evaluators = {"retrieval": {"split": "validation"}}
    return config

def sweep():
    for rate in (1e-4, 3e-4, 1e-3, 3e-3):
        for seed in range(3):
            yield {"optimizer.learning_rate": rate, "train.seed": seed}
"""


def command(args: argparse.Namespace, config: Path, out: Path) -> list[str]:
    """Returns the command of the controller."""
    arguments = [f"--config={config}", f"--out={out}", f"--jobs={args.jobs}"]
    arguments.append(f"--config.input.dataset={args.dataset}")
    return [sys.executable, "-m", "svilm_jax.main", "sweep", *arguments]


def run_disturbed(line: list[str], args: argparse.Namespace) -> int:
    """Runs a sweep whose controller is killed `args.kills` times; returns the number of kills that hit it."""
    draw, hits = random.Random(args.seed), 0
    for _ in range(args.kills):
        controller = subprocess.Popen(line, stderr=subprocess.DEVNULL)
        try:
            controller.wait(draw.uniform(0.5, args.between))
        except subprocess.TimeoutExpired:
            controller.kill()
            controller.wait()
            hits += 1
    subprocess.run(line, check=True, stderr=subprocess.DEVNULL)
    return hits


def attempts(out: Path) -> dict[str, list[str]]:
    """Returns the events of every trial's attempts."""
    return {
        file.parent.name: [str(record["event"]) for record in read_lines(file)]
        for file in sorted(out.glob("*/attempts.jsonl"))
    }


def main() -> None:
    """Runs both sweeps, compares them, and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="folder written by `svilm prepare moving_shapes`")
    parser.add_argument("--workdirs", type=Path, default=Path("runs/sweep_kills"))
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--between", type=float, default=8.0, help="maximum seconds from a start to its kill")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    shutil.rmtree(args.workdirs, ignore_errors=True)
    args.workdirs.mkdir(parents=True)
    config = args.workdirs / "killed.py"
    config.write_text(SWEEP)
    started = time.monotonic()
    subprocess.run(command(args, config, args.workdirs / "undisturbed"), check=True)
    seconds = time.monotonic() - started
    hits = run_disturbed(command(args, config, args.workdirs / "killed"), args)
    expected, found = (attempts(args.workdirs / name) for name in ("undisturbed", "killed"))
    result = {
        "trials": len(found),
        "kills": hits,
        "seconds_undisturbed": round(seconds, 1),
        "trials_started_more_than_once": sum(events != expected.get(id) for id, events in found.items()),
        "same_trials": sorted(found) == sorted(expected),
        "same_results": (args.workdirs / "killed" / CSV).read_bytes()
        == (args.workdirs / "undisturbed" / CSV).read_bytes(),
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    if not result["same_results"] or not result["same_trials"] or result["trials_started_more_than_once"]:
        raise SystemExit("the sweeps differ")


if __name__ == "__main__":
    main()
