"""The four downstream tasks on moving shapes, from the demo's checkpoint.

    python experiments/tasks.py --dataset runs/data/moving_shapes --checkpoint runs/demo --out experiments/results/tasks

Zero-shot retrieval is part of the demo. Here: the linear probe and full fine-tuning on action labels, question
answering, and localization on features of the trained and of a randomly initialized tower. Each result is stored with
its command.
"""

import argparse
import json
from pathlib import Path

from study import Run, summary, svilm, train, write_result

METRICS = (
    "probe/top1",
    "probe/top1_random_tower",
    "probe/top1_majority",
    "action/top1",
    "action/top1_majority",
    "qa/accuracy",
    "qa/accuracy_majority",
    "qa/accuracy_majority_by_kind",
    "localization/mAP_50",
    "localization/mAP_75",
    "localization/mAP_95",
    "localization/mAP",
)
WINDOWS = ("--window", "1", "--stride", "0.25", "--pool", "time")


def main() -> None:
    """Runs the missing trainings and writes summary.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="folder written by `svilm prepare moving_shapes`")
    parser.add_argument("--checkpoint", type=Path, required=True, help="workdir of the demo")
    parser.add_argument("--out", type=Path, required=True, help="folder for metrics and summary")
    parser.add_argument("--workdirs", type=Path, default=Path("runs/tasks"), help="checkpoints, features and curves")
    parser.add_argument("--untrimmed", default="", help="dataset with the untrimmed splits (default: --dataset)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    environment = json.loads((args.checkpoint / "environment.json").read_text())
    probe(args.dataset, args.checkpoint, args.out, environment)
    shared = (f"--config.input.dataset={args.dataset}", f"--config.init.checkpoint={args.checkpoint}")
    runs = [
        Run("action_recognition", 0, "configs/finetune/action_recognition.py:data=moving_shapes", shared),
        Run("question_answering", 0, "configs/finetune/question_answering.py:data=moving_shapes", shared),
    ]
    for tower in ("trained", "random"):
        folders = {
            split: extract_features(args.untrimmed or args.dataset, args.checkpoint, args.workdirs, split, tower)
            for split in ("train", "test")
        }
        features = (
            f"--config.model.localization.features={folders['train']}",
            f"--config.evaluators.localization.features={folders['test']}",
        )
        config = "configs/finetune/localization.py:data=moving_shapes"
        runs.append(Run(f"localization_{tower}_tower", 0, config, features))
    for run in runs:
        train(run, args.out, args.workdirs)
    all_runs = [Run("linear_probe", 0, ""), *runs]
    (args.out / "summary.md").write_text(summary(args.out, all_runs, METRICS))


def probe(dataset: str, checkpoint: Path, out: Path, environment: dict) -> None:
    """Runs the linear probe on action labels, with a randomly initialized tower as baseline."""
    result, metrics = out / "linear_probe_seed0.json", out / ".probe.json"
    if result.is_file():
        return
    config = "configs/finetune/action_recognition.py:data=moving_shapes,mode=probe"
    command = ["svilm", "eval", str(checkpoint), f"--config={config}", f"--config.input.dataset={dataset}"]
    svilm([*command[1:], f"--out={metrics}"])
    write_result(command, metrics, environment, result)
    metrics.unlink()


def extract_features(dataset: str, checkpoint: Path, workdirs: Path, split: str, tower: str) -> Path:
    """Extracts features of the untrimmed videos of a split; returns their folder."""
    folder = workdirs / "features" / f"{tower}_{split}"
    command = ["embed", "--model", str(checkpoint), "--dataset", dataset, "--split", f"untrimmed_{split}"]
    svilm([*command, "--out", str(folder), *WINDOWS, *(["--random"] if tower == "random" else [])])
    return folder


if __name__ == "__main__":
    main()
