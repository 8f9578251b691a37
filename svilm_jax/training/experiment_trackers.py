"""Experiment trackers as metric writers: wandb and trackio.

A run keeps its identity over interruptions: an id, in `WORKDIR/tracked_run.json`, that a resumed run reads. Trackers do
not delete what they were sent. The steps between the latest checkpoint and the interruption, which a resumed run
computes again, are therefore left out the second time.
"""

import dataclasses
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from svilm_jax.config import Config, TrackingConfig
from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.training.contained_writers import MetricWriter

FILE = "tracked_run.json"
_FINISH_SECONDS = 20  # for which wandb may upload after the end; the rest stays on the disk, for `wandb sync`
_INIT_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class TrackedRun:
    """A run as trackers know it.

    Attributes:
      id: of eight characters.
      settings: project, name, group, mode.
      name: `settings.name`, or that of the workdir.
      folder: folder of the run.
      config: nested values of the config.
      logged: the last step that an earlier attempt logged; 0 if there was none.
    """

    id: str
    settings: TrackingConfig
    name: str
    folder: Path
    config: Mapping[str, Any]
    logged: int


def tracked_run(config: Config, workdir: Path, start: int, logged: int) -> TrackedRun:
    """Returns the run of a workdir, with a new id if it starts anew with another config.

    Args:
      config: the resolved config.
      workdir: folder of the run.
      start: step from which the run resumes.
      logged: last step in its log.
    """
    tree = dataclasses.asdict(config)
    digest = hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
    file = workdir / FILE
    try:
        known = json.loads(file.read_text())
        id, same = str(known["id"]), known["config"] == digest
    except (OSError, ValueError, KeyError, TypeError):
        id, same = "", False
    if not id or (start == 0 and not same):
        id, logged = uuid.uuid4().hex[:8], 0
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps({"id": id, "config": digest}) + "\n")
    settings = config.train.tracking
    return TrackedRun(id, settings, settings.name or workdir.resolve().name or "run", workdir, tree, logged)


class WandbWriter:
    """Logs to Weights & Biases; offline, to WORKDIR/wandb, which `wandb sync` uploads later."""

    def __init__(self, run: TrackedRun):
        """Starts or resumes the run."""
        import wandb

        settings = run.settings
        # Silent: it would ask for a key at a terminal, and write between the lines of the progress bar.
        wandb.setup(settings=wandb.Settings(silent=True))
        self._run = wandb.init(
            project=settings.project,
            name=run.name,
            group=settings.group or None,
            id=run.id,
            resume="allow",  # offline, `wandb sync` appends to the run of an earlier attempt
            mode=settings.mode,
            dir=str(run.folder),
            config=dict(run.config),
            allow_val_change=True,  # a resumed run may have more steps
            settings=wandb.Settings(
                silent=True, console="off", init_timeout=_INIT_SECONDS, finish_timeout=_FINISH_SECONDS
            ),
        )
        # What the server has, or else what the log says.
        self._first = max(run.logged, self._run.starting_step)
        tqdm.write(f"wandb: run {self._run.id} at {self._run.url or self._run.dir}")

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Logs one row, or only the latest values if a row of a later step exists."""
        if step < self._first:
            self._run.summary.update(dict(scalars))
        else:
            self._run.log(dict(scalars), step=step)

    def flush(self) -> None:
        """Does nothing: wandb uploads and writes continuously."""

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()


class TrackioWriter:
    """Logs to trackio: to its database on this machine, or online to the server that its environment variables name."""

    def __init__(self, run: TrackedRun):
        """Starts or resumes the run."""
        if run.settings.mode == "offline":
            for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
                os.environ.pop(name, None)
        import trackio

        self._first = run.logged
        self._run = trackio.init(
            project=run.settings.project,
            name=f"{run.name}-{run.id}",  # resumed by name, which workdirs may share
            group=run.settings.group or None,
            config=dict(run.config),
            resume="allow",
            embed=False,
        )

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Logs one row, unless a row of a later step exists."""
        if step >= self._first:
            self._run.log(dict(scalars), step=step)

    def flush(self) -> None:
        """Does nothing: trackio writes every half second."""

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()


TRACKERS: Mapping[str, Callable[[TrackedRun], MetricWriter]] = {"wandb": WandbWriter, "trackio": TrackioWriter}
