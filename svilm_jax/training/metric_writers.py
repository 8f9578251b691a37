"""Metric writer for JSON lines, TensorBoard and the console.

Its methods are named as those of clu's writers, which import TensorFlow; TensorBoard files are written by tensorboardX.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter
from tqdm import tqdm

from svilm_jax.filesystem.log_lines import read_lines


class MetricWriter:
    """Writes scalars per step to WORKDIR/metrics.jsonl and WORKDIR/tensorboard, and a short line to the console."""

    def __init__(self, workdir: Path, start_step: int, console: tuple[str, ...] = ()):
        """`start_step`: later lines, of a run that was stopped after its latest checkpoint, are dropped."""
        workdir.mkdir(parents=True, exist_ok=True)
        path = workdir / "metrics.jsonl"
        kept = [line for line in read_lines(path) if line["step"] <= start_step]
        if path.is_file():
            path.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a")
        self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=start_step + 1)
        self._console = console

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes one line of JSON, and one point per curve."""
        line = {"step": step, "time": round(time.time(), 3), **scalars}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)
        shown = "  ".join(f"{name.split('/')[-1]} {scalars[name]:.4g}" for name in self._console if name in scalars)
        if shown:
            tqdm.write(f"step {step:>6}  {shown}")

    def flush(self) -> None:
        """Flushes everything written so far to disk."""
        self._file.flush()
        self._board.flush()

    def close(self) -> None:
        """Flushes and closes."""
        self._file.close()
        self._board.close()
