"""Fault-injection study: a training run killed at random times and resumed, compared with an uninterrupted one.

    python experiments/kill_resume.py --dataset runs/data/moving_shapes --kills 50 --out experiments/results/faults.json

Every kill is SIGKILL or SIGTERM, drawn from a seed. A third of them come at a random time after the start, most of
which is startup; the others at a random time after the first new step, between and inside steps and saves. The final
parameters must equal those of the uninterrupted run bit for bit. Compiled programs are cached between starts
(JAX_COMPILATION_CACHE_DIR). An existing uninterrupted run is not repeated.
"""

import argparse
import collections
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np

from svilm_jax.checkpoints import load
from svilm_jax.filesystem.log_lines import read_lines
from svilm_jax.models.parameters import parameters

CONFIG = "configs/pretrain/demo.py"


def command(args: argparse.Namespace, workdir: Path) -> list[str]:
    """Returns the command of one start: a small batch and frequent saves, so that kills occur in all phases."""
    values = {"input.dataset": args.dataset, "train.steps": args.steps, "train.batch_size": 8}
    values |= {"train.checkpoint_every": args.every, "train.log_every": 1, "train.max_to_keep": 2}
    overrides = [f"--config.{key}={value}" for key, value in values.items()]
    return [sys.executable, "-m", "svilm_jax.main", "train", f"--config={CONFIG}", f"--workdir={workdir}", *overrides]


def step_of(workdir: Path) -> int:
    """Returns the last logged step; 0 if there is none."""
    lines = read_lines(workdir / "metrics.jsonl")
    return int(lines[-1]["step"]) if lines else 0


def main() -> None:
    """Runs both trainings, compares them, and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="folder written by `svilm prepare moving_shapes`")
    parser.add_argument("--workdirs", type=Path, default=Path("runs/kill_resume"))
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--every", type=int, default=10, help="steps between saves")
    parser.add_argument(
        "--start-up", type=float, default=15.0, help="maximum delay in seconds after a start, for a third of the kills"
    )
    parser.add_argument(
        "--training", type=float, default=6.0, help="maximum delay in seconds after the first new step, for the others"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(args.workdirs.resolve() / "compiled")}
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    reference, interrupted = args.workdirs / "uninterrupted", args.workdirs / "killed"
    quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    shutil.rmtree(interrupted, ignore_errors=True)
    if not (reference / "metrics.json").is_file():
        shutil.rmtree(reference, ignore_errors=True)
        subprocess.run(command(args, reference), check=True, **quiet)
    rng = np.random.default_rng(args.seed)
    kills: list[dict[str, object]] = []
    while len(kills) < args.kills:
        before = step_of(interrupted)
        process = subprocess.Popen(command(args, interrupted), **quiet)
        after_step = rng.random() > 1 / 3
        while after_step and process.poll() is None and step_of(interrupted) <= before:
            time.sleep(0.05)
        time.sleep(float(rng.uniform(0, args.training) if after_step else rng.uniform(0.5, args.start_up)))
        chosen = signal.SIGKILL if rng.random() < 0.5 else signal.SIGTERM
        if process.poll() is not None:
            raise SystemExit(f"finished after {len(kills)} kills with exit status {process.returncode}: raise --steps")
        process.send_signal(chosen)
        status = process.wait(timeout=300)
        saving = any((interrupted / "checkpoints").glob("*tmp*"))  # left by a kill inside a save
        kills.append({"signal": chosen.name, "status": status, "step": step_of(interrupted), "inside_a_save": saving})
        print(kills[-1], flush=True)
    subprocess.run(command(args, interrupted), check=True, **quiet)
    leaves = [jax.tree.leaves(parameters(load(folder).model)) for folder in (reference, interrupted)]
    identical = all(np.array_equal(a, b) for a, b in zip(*leaves, strict=True))
    losses = [
        [line["loss/total"] for line in read_lines(folder / "metrics.jsonl")] for folder in (reference, interrupted)
    ]
    document = {
        "kills": len(kills),
        "by_signal": collections.Counter(str(kill["signal"]) for kill in kills),
        "inside_a_save": sum(bool(kill["inside_a_save"]) for kill in kills),
        "by_status": collections.Counter(str(kill["status"]) for kill in kills),
        "steps": args.steps,
        "parameters_bit_identical": identical,
        "losses_of_every_step_identical": losses[0] == losses[1] and len(losses[0]) == args.steps,
        "set_aside": len(list(interrupted.glob("broken_checkpoints/*"))),
        "each": kills,
    }
    print(json.dumps({name: value for name, value in document.items() if name != "each"}, indent=1))
    if args.out:
        args.out.write_text(json.dumps(document, indent=1) + "\n")
    sys.exit(0 if identical else 1)


if __name__ == "__main__":
    main()
