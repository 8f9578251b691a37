"""Table of the status of runs, one line a run."""

import json
from collections.abc import Sequence

from svilm_jax.monitoring.run_status import RunStatus
from svilm_jax.sweeps.progress import duration

_COLUMNS = ("run", "state", "step", "steps/s", "clips/s", "left", "loss", "evaluation", "checkpoint", "last line", "")
_RIGHT = ("step", "steps/s", "clips/s", "left", "loss", "last line")
_NOTE_LENGTH = 80


def format_status(runs: Sequence[RunStatus], metric: str = "") -> str:
    """Formats a table; columns without a value are left out.

    Args:
      runs: the runs.
      metric: of the evaluation; "": the first one that is not a baseline of another.
    """
    rows = [_COLUMNS, *(_row(run, metric) for run in runs)]
    shown = [i for i, name in enumerate(_COLUMNS) if i < 3 or any(row[i] for row in rows[1:])]
    widths = {i: max(len(row[i]) for row in rows) for i in shown}
    lines = []
    for row in rows:
        cells = [row[i].rjust(widths[i]) if _COLUMNS[i] in _RIGHT else row[i].ljust(widths[i]) for i in shown]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _row(run: RunStatus, metric: str) -> tuple[str, ...]:
    total = "" if run.total_steps is None else f"/{run.total_steps}"
    checkpoint = ""
    if run.checkpoint_step is not None:
        checkpoint = f"{run.checkpoint_step}, {duration(run.checkpoint_age or 0)} ago"
    return (
        run.workdir,
        run.state,
        "" if run.step is None else f"{run.step}{total}",
        _number(run.steps_per_second, ".3g"),
        _number(run.clips_per_second, ".1f"),
        "" if run.seconds_left is None else duration(run.seconds_left),
        _number(run.loss, ".4g"),
        _evaluation(run, metric),
        checkpoint,
        "" if run.log_age is None else f"{duration(run.log_age)} ago",
        _note(run),
    )


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _evaluation(run: RunStatus, metric: str) -> str:
    baselines = {name for name in run.evaluation for other in run.evaluation if name.startswith(f"{other}_")}
    name = metric or next((name for name in run.evaluation if name not in baselines), "")
    return f"{name} {_number(run.evaluation[name], '.4g')}" if name in run.evaluation else ""


def _note(run: RunStatus) -> str:
    """Returns what distinguishes a trial, and why a run ended or who holds it."""
    parts = [" ".join(f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in run.changes.items())]
    if run.process and "pid" in run.process:
        parts.append(f"process {run.process['pid']} on {run.process.get('host', '?')}")
    message = run.message
    parts.append(message if len(message) <= _NOTE_LENGTH else f"{message[: _NOTE_LENGTH - 3]}...")
    return "; ".join(filter(None, parts))
