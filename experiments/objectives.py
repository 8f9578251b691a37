"""What do the two structural losses add? The demo with all objectives and with the contrast alone, several seeds each.

    python experiments/objectives.py --dataset runs/data/moving_shapes --out experiments/results/objectives

Runs one training after another (an hour on two CPU cores for three seeds), keeps each run's metrics.json beside its
command, and writes summary.md. A run whose metrics are there already is not repeated.
"""

import argparse
import json
import shlex
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

CONFIG = "configs/pretrain/demo.py"
SHOWN = (
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
    "grouping/cut_exact",
)


def main() -> None:
    """Runs what is missing and writes the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="folder that `svilm prepare moving_shapes` wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for metrics and summary")
    parser.add_argument("--workdirs", type=Path, default=Path("runs/objectives"), help="checkpoints and curves")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--objectives", nargs="+", default=["full", "contrast"])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    runs = [(objectives, seed) for seed in args.seeds for objectives in args.objectives]
    for objectives, seed in runs:
        kept = args.out / f"{objectives}_seed{seed}.json"
        if kept.is_file():
            continue
        workdir = args.workdirs / f"{objectives}_seed{seed}"
        command = [
            "svilm",
            "train",
            f"--config={CONFIG}:objectives={objectives},seed={seed}",
            f"--workdir={workdir}",
            f"--config.input.dataset={args.dataset}",
        ]
        shutil.rmtree(workdir, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "svilm_jax.main", *command[1:]], check=True)
        metrics = json.loads((workdir / "metrics.json").read_text())
        environment = json.loads((workdir / "environment.json").read_text())
        kept.write_text(
            json.dumps({"command": shlex.join(command), **environment, "metrics": metrics}, indent=1) + "\n"
        )
    (args.out / "summary.md").write_text(summary(args.out, runs))


def summary(folder: Path, runs: list[tuple[str, int]]) -> str:
    """A Markdown table: mean and standard deviation over the seeds."""
    kinds = list(dict.fromkeys(kind for kind, _ in runs))
    found = {
        kind: [json.loads((folder / f"{kind}_seed{seed}.json").read_text())["metrics"] for k, seed in runs if k == kind]
        for kind in kinds
    }
    lines = [f"| metric | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for name in SHOWN:
        cells = []
        for kind in kinds:
            values = [metrics[name] for metrics in found[kind]]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""  # one run has none
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    seeds = sorted({seed for _, seed in runs})
    return "\n".join([*lines, "", f"Mean (± standard deviation) over seeds {seeds}; commands in the JSON files.", ""])


if __name__ == "__main__":
    main()
