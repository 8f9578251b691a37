"""Status of one run: whether it is alive, how far it is, how fast, and what it measured last."""

import dataclasses
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from svilm_jax.errors import EXIT_DIVERGED, EXIT_STOPPED
from svilm_jax.filesystem.json_reader import JsonError, read_document
from svilm_jax.filesystem.locks import holder_of
from svilm_jax.filesystem.log_lines import read_lines_backward
from svilm_jax.sweeps.attempts import ATTEMPTS, State, read_history
from svilm_jax.sweeps.plan import TRIAL_CONFIG
from svilm_jax.training.run_record import FILE as RECORD
from svilm_jax.training.run_record import RunRecord, read_run_record

LOCKS = (".lock", "trial.lock")  # held by a run, and by the process that starts and supervises a trial
LOSS, CLIPS = "loss/total", "clips_per_second"
_TRACES = (RECORD, "metrics.jsonl", "metrics.json", "checkpoints", TRIAL_CONFIG, LOCKS[0])
_RATE_LINES = 20  # of the log, over which a rate is averaged
_NOT_METRICS = ("step", "time")


@dataclasses.dataclass(frozen=True)
class RunStatus:
    """Status of a run; None where it is not known, or does not apply.

    Attributes:
      workdir: folder of the run.
      state: running, starting, finished, stopped, diverged, failed, refused, pruned, killed, planned, or ended (the
        record of how is missing).
      step: number of training steps done.
      total_steps: number of training steps of the run.
      steps_per_second: over the last lines of the log, evaluation and saving included.
      clips_per_second: as the run logged it, without evaluation and saving.
      seconds_left: until the last step at this rate; only of a run that is alive.
      loss: the last training loss.
      evaluation: metrics of the last evaluation.
      evaluation_step: number of steps before that evaluation.
      checkpoint_step: step of the latest checkpoint.
      checkpoint_age: its age in seconds.
      log_age: age of the last line of the log in seconds.
      process: pid, host, command and since of the process that is alive.
      message: why the run ended, if it did not finish.
      changes: of a trial: dotted key -> value.
    """

    workdir: str
    state: str
    step: int | None = None
    total_steps: int | None = None
    steps_per_second: float | None = None
    clips_per_second: float | None = None
    seconds_left: float | None = None
    loss: float | None = None
    evaluation: Mapping[str, float] = dataclasses.field(default_factory=dict)
    evaluation_step: int | None = None
    checkpoint_step: int | None = None
    checkpoint_age: float | None = None
    log_age: float | None = None
    process: Mapping[str, Any] | None = None
    message: str = ""
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def is_workdir(folder: Path) -> bool:
    """Returns whether a folder has something that a run or its planning leaves behind."""
    return any((folder / name).exists() for name in _TRACES)


def read_status(workdir: Path, changes: Mapping[str, Any] | None = None, pruned: bool = False) -> RunStatus:
    """Reads the status of a run.

    Args:
      workdir: folder of the run.
      changes: of a trial of a sweep.
      pruned: whether a search gave the trial up.
    """
    now = time.time()
    held = [holder_of(workdir / name) for name in LOCKS]
    record = read_run_record(workdir)
    alive = any(holder is not None for holder in held)
    state = _state(workdir, held[0] is not None, alive, record, pruned)
    settings = _train_settings(workdir)
    log = _read_log(workdir / "metrics.jsonl", record.started if record else 0.0, settings.get("eval_every"))
    final = _read_final(workdir) if state == "finished" else {}
    step, checkpoint = log.step, _newest_checkpoint(workdir)
    total = record.total_steps if record else settings.get("steps") or None
    if state == "finished":
        step = total = int(final.pop("train/steps", 0)) or step
        final.pop("train/seconds", None)
    elif record and (step is None or step < record.first_step):
        step = record.first_step
    left = None
    if state == "running" and log.rate and total is not None and step is not None:
        left = max(0.0, (total - step) / log.rate - (now - log.time))
    return RunStatus(
        workdir=str(workdir),
        state=state,
        step=step,
        total_steps=total,
        steps_per_second=log.rate if state == "running" else None,
        clips_per_second=log.clips if state in ("running", "finished") else None,
        seconds_left=left,
        loss=log.loss,
        evaluation=final or log.evaluation,
        evaluation_step=step if final else log.evaluation_step,
        checkpoint_step=checkpoint[0] if checkpoint else None,
        checkpoint_age=max(0.0, now - checkpoint[1]) if checkpoint else None,
        log_age=max(0.0, now - log.time) if log.time else None,
        process=next((holder for holder in held if holder is not None), None),
        message=record.message if record and not alive and state != "finished" else "",
        changes=changes or {},
    )


def _state(workdir: Path, held: bool, alive: bool, record: RunRecord | None, pruned: bool) -> str:
    if held and record and record.ended is None:
        return "running"
    if alive:
        return "starting"  # or evaluating after a start that is not recorded
    if pruned:
        return "pruned"
    if (workdir / ATTEMPTS).is_file():  # which also knows of attempts that ended before they were recorded
        found = read_history(workdir).state
        return "finished" if found is State.DONE else found.value
    if (workdir / "metrics.json").is_file():
        return "finished"  # it is deleted when a run starts, and written last
    if record is None:
        return "planned" if (workdir / TRIAL_CONFIG).is_file() else "ended"
    if record.status is None:
        return "killed"
    return {EXIT_STOPPED: "stopped", EXIT_DIVERGED: "diverged"}.get(record.status, "failed")


@dataclasses.dataclass
class _Log:
    """What the last lines of a log say; `time` is that of the last line, 0 without any."""

    time: float = 0.0
    step: int | None = None
    rate: float | None = None
    clips: float | None = None
    loss: float | None = None
    evaluation: dict[str, float] = dataclasses.field(default_factory=dict)
    evaluation_step: int | None = None


def _read_log(file: Path, started: float, eval_every: int | None) -> _Log:
    """Reads a metrics.jsonl backward, as far as necessary.

    Args:
      file: the log.
      started: time of the latest attempt, before which lines do not count for the rate.
      eval_every: number of steps between evaluations; 0 or None: there are none.
    """
    found = _Log()
    steps: list[tuple[int, float]] = []  # (step, time) of training lines, from the last
    for line in _valid(read_lines_backward(file)):
        step, moment = line["step"], line["time"]
        if not found.time:
            found.time, found.step = moment, step
        if LOSS in line:
            if found.loss is None:
                found.loss, found.clips = line[LOSS], line.get(CLIPS)
            if moment >= started and len(steps) < _RATE_LINES:
                steps.append((step, moment))
        elif found.evaluation_step is None:
            found.evaluation = {name: value for name, value in line.items() if name not in _NOT_METRICS}
            found.evaluation_step = step
        complete = found.loss is not None and (len(steps) == _RATE_LINES or moment < started)
        sought = eval_every and found.evaluation_step is None and step > (found.step or 0) - 2 * eval_every
        if complete and not sought:
            break
    if len(steps) > 1 and (seconds := steps[0][1] - steps[-1][1]) > 0:
        found.rate = max(0, steps[0][0] - steps[-1][0]) / seconds
    return found


def _valid(lines: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Leaves out lines that are no lines of metrics, and values that are not numbers."""
    for line in lines:
        numbers = {n: v for n, v in line.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        if isinstance(numbers.get("step"), int) and "time" in numbers:
            yield numbers


def _train_settings(workdir: Path) -> dict[str, Any]:
    for name in ("config.json", TRIAL_CONFIG):
        try:
            found = read_document(workdir / name)["train"]
        except (OSError, JsonError, KeyError, TypeError):
            continue
        if isinstance(found, dict):
            return found
    return {}


def _read_final(workdir: Path) -> dict[str, float]:
    try:
        found = read_document(workdir / "metrics.json")
    except (OSError, JsonError):
        return {}
    return {n: v for n, v in found.items() if isinstance(v, int | float)} if isinstance(found, dict) else {}


def _newest_checkpoint(workdir: Path) -> tuple[int, float] | None:
    """Returns (step, time) of the newest complete checkpoint; incomplete ones have other names."""
    folder = workdir / "checkpoints"
    with_steps = [path for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else []
    for path in sorted(with_steps, key=lambda path: int(path.name), reverse=True):
        try:
            return int(path.name), path.stat().st_mtime
        except OSError:  # deleted meanwhile, for a newer one
            continue
    return None
