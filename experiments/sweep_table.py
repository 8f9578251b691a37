"""Table of a sweep for the documentation: results.csv kept with the command, versions and machine, and a summary.

    python -m experiments.sweep_table runs/ablation --out experiments/results/ablation \\
        --command "svilm sweep --config=sweeps/ablation --sweep=arms,seeds --out=runs/ablation" \\
        --metrics retrieval/t2v_R1,grounding/pointing_game

Writes results.csv, environment.json (that of the first trial, with the command) and summary.md: mean ± sample standard
deviation over the seeds of each setting.
"""

import argparse
import csv
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from svilm_jax.sweeps.results import CSV
from svilm_jax.sweeps.settings import SEEDS


def read_settings(file: Path) -> dict[str, list[Mapping[str, str]]]:
    """Reads the rows of a results.csv that are done, by setting: its changes without seeds, in one line."""
    with file.open() as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
        columns = list(reader.fieldnames or ())
    keys = [key for key in columns[1 : columns.index("status")] if key not in SEEDS]
    groups: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        if row["status"] == "done":
            groups.setdefault(", ".join(f"{key}={row[key]}" for key in keys if row[key]), []).append(row)
    return groups


def summary(settings: Mapping[str, Sequence[Mapping[str, str]]], metrics: Sequence[str]) -> str:
    """Returns a Markdown table with one row per metric and one column per setting."""
    lines = ["| metric | " + " | ".join(f"{name} (n={len(rows)})" for name, rows in settings.items()) + " |"]
    lines.append("|---" * (len(settings) + 1) + "|")
    for metric in metrics:
        cells = []
        for rows in settings.values():
            values = [float(row[metric]) for row in rows if row.get(metric)]
            deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.4f}{deviation}" if values else "")
        lines.append(f"| {metric} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Copies the results of a sweep and writes its summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="folder written by `svilm sweep`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--command", required=True, help="of the sweep")
    parser.add_argument("--metrics", required=True, metavar="NAME[,NAME...]")
    args = parser.parse_args()
    settings = read_settings(args.sweep / CSV)
    metrics = args.metrics.split(",")
    known = {name for rows in settings.values() for row in rows for name in row}
    if missing := [metric for metric in metrics if metric not in known]:
        raise SystemExit(f"{args.sweep / CSV} has no {', '.join(missing)}; it has {', '.join(sorted(known))}")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / CSV).write_bytes((args.sweep / CSV).read_bytes())
    first = next(row["trial"] for rows in settings.values() for row in rows)
    environment = json.loads((args.sweep / first / "environment.json").read_text())
    (args.out / "environment.json").write_text(json.dumps({**environment, "command": args.command}, indent=1) + "\n")
    (args.out / "summary.md").write_text(summary(settings, metrics))


if __name__ == "__main__":
    main()
