"""Multi-process parity: 4 processes of 2 devices on loopback compared with 1 process of 8, step by step.

    python experiments/processes.py --dataset runs/data/moving_shapes --out experiments/results/processes.json

Real processes, which find each other by `jax.distributed` and exchange arrays by gloo. The config is the smallest one
with every part of the method (tests/tiny.py), with the paper's optimizer (SGD with momentum, learning rate 0.1): on two
cores a step of four processes takes about two seconds, nearly all of it waiting for each other. Sums over devices are
rounded in a different order by gloo than inside a process. With SGD the difference stays that small; AdamW divides by
it where a gradient is almost zero, and the losses diverge as `--optimizer adamw` shows.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from svilm_jax.filesystem.log_lines import read_lines

DEVICES = 8


def main() -> None:
    """Runs both and writes the largest difference of the losses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="folder written by `svilm prepare moving_shapes`")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--optimizer", default="sgd", choices=("sgd", "adamw"))
    parser.add_argument("--preset", default="dp", help="config.mesh.preset")
    parser.add_argument("--workdirs", type=Path, default=Path("runs/processes"))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    losses = {count: run(args, count) for count in (1, args.processes)}
    one, many = losses[1], losses[args.processes]
    difference = max(abs(a - b) for a, b in zip(one, many, strict=True))
    document = {
        "processes": args.processes,
        "devices_of_each": DEVICES // args.processes,
        "preset": args.preset,
        "optimizer": args.optimizer,
        "steps": len(one),
        "largest_difference_of_the_loss": difference,
        "first_and_last_loss": [one[0], one[-1]],
    }
    print(json.dumps(document, indent=1))
    if args.out:
        args.out.write_text(json.dumps(document, indent=1) + "\n")
    sys.exit(0 if difference < 1e-5 else 1)


def run(args: argparse.Namespace, processes: int) -> list[float]:
    """Trains with a number of processes; returns the loss of every step."""
    workdir = args.workdirs / f"{processes}_processes"
    shutil.rmtree(workdir, ignore_errors=True)
    changes = {"train.batch_size": 16, "train.steps": args.steps, "mesh.preset": args.preset}
    changes |= {"mesh.max_replicated_fraction": 0.1, "optimizer.name": args.optimizer}
    changes |= {"optimizer.learning_rate": 0.1} if args.optimizer == "sgd" else {}
    command = [sys.executable, "-m", "svilm_jax.main", "train", f"--config=tests/tiny.py:dataset={args.dataset}"]
    command += [f"--workdir={workdir}", *(f"--config.{key}={value}" for key, value in changes.items())]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    flags = f"--xla_force_host_platform_device_count={DEVICES // processes}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    running = []
    for process in range(processes):
        flags_ = [f"--coordinator=127.0.0.1:{port}", f"--processes={processes}", f"--process={process}"]
        running.append(subprocess.Popen([*command, *(flags_ if processes > 1 else [])], env=environment))
    for process in running:
        if process.wait():
            raise SystemExit(f"one of {processes} processes failed with exit status {process.returncode}")
    return [line["loss/total"] for line in read_lines(workdir / "metrics.jsonl")]


if __name__ == "__main__":
    main()
