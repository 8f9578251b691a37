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


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of a study.

    Attributes:
      kind: what is compared, such as `full` and `contrast`.
      seed: runs of one kind differ in it alone.
      config: FILE:ARGUMENTS.
      overrides: `--config.KEY=VALUE`.
    """

    kind: str
    seed: int
    config: str
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.kind}_seed{self.seed}"


def train(run: Run, out: Path, workdirs: Path) -> None:
    """Trains, unless its metrics are there already, and keeps them as `out/<name>.json`."""
    kept = out / f"{run.name}.json"
    if kept.is_file():
        return
    workdir = workdirs / run.name
    command = ["svilm", "train", f"--config={run.config}", f"--workdir={workdir}", *run.overrides]
    shutil.rmtree(workdir, ignore_errors=True)
    svilm(command[1:])
    keep(command, workdir / "metrics.json", json.loads((workdir / "environment.json").read_text()), kept)


def svilm(arguments: Sequence[str]) -> None:
    """Runs `svilm` with this interpreter; raises where it fails."""
    subprocess.run([sys.executable, "-m", "svilm_jax.main", *arguments], check=True)


def keep(command: Sequence[str], metrics: Path, environment: dict, kept: Path) -> None:
    """Writes a result: the command, the versions and the metrics."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    document = {**environment, "command": shlex.join(command), "metrics": json.loads(metrics.read_text())}
    kept.write_text(json.dumps(document, indent=1) + "\n")


def summary(out: Path, runs: Iterable[Run], shown: Sequence[str]) -> str:
    """A Markdown table: mean and standard deviation over the seeds of each kind; metrics that none has are left out."""
    runs = list(runs)
    kinds = list(dict.fromkeys(run.kind for run in runs))
    found = {
        kind: [json.loads((out / f"{run.name}.json").read_text())["metrics"] for run in runs if run.kind == kind]
        for kind in kinds
    }
    lines = [f"| metric | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for name in shown:
        cells = []
        for kind in kinds:
            values = [metrics[name] for metrics in found[kind] if name in metrics]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""  # one run has none
            cells.append(f"{statistics.mean(values):.3f}{spread}" if values else "")
        if any(cells):
            lines.append(f"| `{name}` | {' | '.join(cells)} |")
    seeds = sorted({run.seed for run in runs})
    return "\n".join([*lines, "", f"Mean (± standard deviation) over seeds {seeds}; commands in the JSON files.", ""])
