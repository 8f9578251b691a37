"""Effect of a pre-trained text tower: the demo with a randomly initialized one, and with MiniLM frozen and fine-tuned.

    svilm import --text MINILM --config=configs/pretrain/demo.py --out runs/minilm
    python experiments/text_towers.py --dataset runs/data/moving_shapes --start runs/minilm \\
        --out experiments/results/text_towers

MINILM: the folder of all-MiniLM-L6-v2 (22.6 M parameters; the demo's text tower has 0.4 M). Runs one training
after another, stores each run's metrics with its command, and writes summary.md. A run whose metrics exist is not
repeated; that of the randomly initialized tower is the demo.
"""

import argparse
from pathlib import Path

from objectives import CONFIG, METRICS
from study import Run, summary, train

KINDS = ("fresh", "frozen", "tuned")


def main() -> None:
    """Runs the missing trainings and writes the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="folder written by `svilm prepare moving_shapes`")
    parser.add_argument("--start", required=True, help="folder written by `svilm import`")
    parser.add_argument("--out", type=Path, required=True, help="folder for metrics and summary")
    parser.add_argument("--workdirs", type=Path, default=Path("runs/text_towers"), help="checkpoints and curves")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    dataset, start = f"--config.input.dataset={args.dataset}", f"--config.init.checkpoint={args.start}"
    runs = [
        Run(kind, seed, f"{CONFIG}:text={kind},seed={seed}", (dataset, *([] if kind == "fresh" else [start])))
        for seed in args.seeds
        for kind in KINDS
    ]
    for run in runs:
        train(run, args.out, args.workdirs)
    (args.out / "summary.md").write_text(summary(args.out, runs, METRICS))


if __name__ == "__main__":
    main()
