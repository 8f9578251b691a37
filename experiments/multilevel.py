"""Ablation of multi-level alignment as an auxiliary loss: retrieval and question answering on untrimmed videos.

    svilm prepare moving_shapes --out runs/untrimmed --size untrimmed_train=600 --size untrimmed_test=200
    python experiments/multilevel.py --dataset runs/untrimmed/moving_shapes --checkpoint runs/demo \\
        --out experiments/results/multilevel

Each task is fine-tuned from the same checkpoint with its own loss alone and with the alignment loss added, several
seeds each; paragraphs are the mean of their sentences in both cases. Writes one JSON file per run, and a summary for
each task.
"""

import argparse
from pathlib import Path

from study import Run, summary, train

METRICS = (
    "retrieval/t2v_R1",
    "retrieval/t2v_R5",
    "retrieval/t2v_MedR",
    "retrieval/v2t_R1",
    "qa/accuracy",
    "qa/accuracy_majority",
    "qa/accuracy_majority_by_kind",
)


def main() -> None:
    """Runs the missing trainings and writes the summaries."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="folder with the splits untrimmed_train and untrimmed_test")
    parser.add_argument("--checkpoint", required=True, help="workdir of `svilm train` with the initial parameters")
    parser.add_argument("--out", type=Path, required=True, help="folder for metrics and summaries")
    parser.add_argument("--workdirs", type=Path, default=Path("runs/multilevel"), help="checkpoints and curves")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tasks", nargs="+", default=["retrieval", "question_answering"])
    args = parser.parse_args()
    shared = (f"--config.input.dataset={args.dataset}", f"--config.init.checkpoint={args.checkpoint}")
    for task in args.tasks:
        runs = [
            Run(
                f"{task}_{kind}",
                seed,
                f"configs/finetune/{task}.py:data=untrimmed,align={align},seed={seed}",
                shared,
            )
            for seed in args.seeds
            for kind, align in (("task_alone", "none"), ("multilevel", "multilevel"))
        ]
        for run in runs:
            train(run, args.out, args.workdirs)
        (args.out / f"{task}.md").write_text(summary(args.out, runs, METRICS))


if __name__ == "__main__":
    main()
