"""Runner of studies: `svilm` commands in sequence, with metrics stored per command, and a summary."""

import dataclasses
import json
import shlex
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from svilm_jax.evaluation.metrics_file import read_scalars


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run of a study.

    Attributes:
      kind: the compared setting, such as `full` or `contrast`.
      seed: random seed, the only difference between runs of one kind.
      config: config file and arguments, FILE:ARGUMENTS.
      overrides: overrides `--config.KEY=VALUE`.
    """

    kind: str
    seed: int
    config: str
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the run's files, without ending."""
        return f"{self.kind}_seed{self.seed}"


def train(run: Run, out: Path, workdirs: Path) -> None:
    """Trains, unless `out/<name>.json` exists, and writes the metrics to it."""
    result = out / f"{run.name}.json"
    if result.is_file():
        return
    workdir = workdirs / run.name
    command = ["svilm", "train", f"--config={run.config}", f"--workdir={workdir}", *run.overrides]
    shutil.rmtree(workdir, ignore_errors=True)
    svilm(command[1:])
    write_result(command, workdir / "metrics.json", json.loads((workdir / "environment.json").read_text()), result)


def svilm(arguments: Sequence[str]) -> None:
    """Runs `svilm` with this interpreter; raises CalledProcessError if it fails."""
    subprocess.run([sys.executable, "-m", "svilm_jax.main", *arguments], check=True)


def write_result(command: Sequence[str], metrics: Path, environment: dict, file: Path) -> None:
    """Writes a result: the command, the versions and the metrics."""
    file.parent.mkdir(parents=True, exist_ok=True)
    document = {**environment, "command": shlex.join(command), "metrics": read_scalars(metrics)}
    file.write_text(json.dumps(document, indent=1) + "\n")


def summary(out: Path, runs: Iterable[Run], metrics: Sequence[str]) -> str:
    """Formats a Markdown table: mean and standard deviation over the seeds of each kind.

    Args:
      out: folder of the results.
      runs: runs of the study.
      metrics: names of the metrics in the table; those that no run has are left out.
    """
    runs = list(runs)
    kinds = list(dict.fromkeys(run.kind for run in runs))
    results = {
        kind: [json.loads((out / f"{run.name}.json").read_text())["metrics"] for run in runs if run.kind == kind]
        for kind in kinds
    }
    lines = [f"| metric | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for name in metrics:
        cells = []
        for kind in kinds:
            values = [result[name] for result in results[kind] if name in result]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""  # undefined for a single run
            cells.append(f"{statistics.mean(values):.3f}{spread}" if values else "")
        if any(cells):
            lines.append(f"| `{name}` | {' | '.join(cells)} |")
    seeds = sorted({run.seed for run in runs})
    return "\n".join([*lines, "", f"Mean (± standard deviation) over seeds {seeds}; commands in the JSON files.", ""])
