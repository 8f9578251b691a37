"""Ablation of the two structural losses: the demo with all objectives and with the contrast alone, several seeds each.

    python experiments/objectives.py --dataset runs/data/moving_shapes --out experiments/results/objectives

Runs one training after another (an hour on two CPU cores for three seeds), stores each run's metrics with its command,
and writes summary.md. A run whose metrics exist is not repeated.
"""

import argparse
from pathlib import Path

from study import Run, summary, train

CONFIG = "configs/pretrain/demo.py"
METRICS = (
    "retrieval/t2v_R1",
    "retrieval/t2v_R10",
    "retrieval/t2v_R1_oracle",
    "retrieval_hard/t2v_R1",
    "retrieval_hard/t2v_R1_oracle",
    "grounding/pointing_game",
    "grounding/pointing_game_phrase_blind",
    "grounding/mean_iou",
    "grouping/tubelet_accuracy",
    "grouping/tubelet_accuracy_raw_pixels",
    "grouping/tubelet_accuracy_all_foreground",
    "grouping/tubelet_accuracy_constant_span",
    "grouping/scene_cut_f1",
    "grouping/scene_cut_f1_raw_pixels",
    "grouping/cut_exact",
    "grouping/cut_exact_raw_pixels",
)


def main() -> None:
    """Runs the missing trainings and writes the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="folder written by `svilm prepare moving_shapes`")
    parser.add_argument("--out", type=Path, required=True, help="folder for metrics and summary")
    parser.add_argument("--workdirs", type=Path, default=Path("runs/objectives"), help="checkpoints and curves")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--objectives", nargs="+", default=["full", "contrast"])
    args = parser.parse_args()
    runs = [
        Run(kind, seed, f"{CONFIG}:objectives={kind},seed={seed}", (f"--config.input.dataset={args.dataset}",))
        for seed in args.seeds
        for kind in args.objectives
    ]
    for run in runs:
        train(run, args.out, args.workdirs)
    (args.out / "summary.md").write_text(summary(args.out, runs, METRICS))


if __name__ == "__main__":
    main()
