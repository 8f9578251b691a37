"""Training curves: the values of metrics.jsonl in panels of related metrics."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib.figure
import numpy as np

from svilm_jax.evaluation.metric import Metric, Unit

# Panel title, strings in the metric names that belong to it, whether the axis is logarithmic. First match wins.
PANELS: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("gradient, parameter and update norms", ("norm",), True),
    ("learning rate", ("learning_rate", "lr"), False),
    ("logit scale", ("logit_scale",), False),
    ("clips per second", ("clips_per_second", "clips/s", "clips_per_s"), False),
    ("MFU", ("mfu",), False),
    ("groups in use", ("groups_used",), False),
    ("losses", ("loss",), False),
)
_IGNORED = ("step", "time", "epoch")

Curve = tuple[np.ndarray, np.ndarray]


def read_curves(path: Path) -> tuple[dict[str, Curve], int]:
    """Reads the curves of a metrics.jsonl and the number of unreadable lines.

    An interrupted run may leave an incomplete last line, and a resumed run repeats steps: among two values for one step
    the later counts.

    Returns:
      (name -> (steps int [N], values float [N]) in ascending steps, unreadable lines).
    """
    points: dict[str, dict[int, float]] = {}
    bad = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            step = int(row["step"])
        except (ValueError, KeyError, TypeError):
            bad += 1
            continue
        for name, value in row.items():
            if name not in _IGNORED and isinstance(value, int | float) and not isinstance(value, bool):
                points.setdefault(name, {})[step] = float(value)
    curves = {
        name: (np.array(sorted(values)), np.array([values[step] for step in sorted(values)]))
        for name, values in points.items()
    }
    return curves, bad


def panels(
    curves: Mapping[str, Curve], evaluated: Iterable[str] = (), metrics: Iterable[Metric] = ()
) -> list[tuple[str, dict[str, Curve], bool]]:
    """Returns (title, curves, logarithmic) of every panel with data.

    Evaluation metrics need at least two points, since a single one is in the table already, and have to be fractions:
    ranks and counts would flatten the curves of the others.

    Args:
      curves: name -> curve.
      evaluated: prefixes of evaluation metrics.
      metrics: the final ones, for their units; an unfinished run has none, and its curves between 0 and 1 are shown.
    """
    units = {name: metric.unit for metric in metrics for name in metric.scalars()}
    rest = dict(curves)
    found = []
    for prefix in evaluated:
        chosen = {n: rest.pop(n) for n in list(rest) if n.startswith(f"{prefix}/")}
        shown = {n: c for n, c in chosen.items() if len(c[0]) > 1 and _is_fraction(units.get(n), c[1])}
        if shown:
            found.append((f"evaluation: {prefix}", shown, False))
    training = []
    for title, words, logarithmic in PANELS:
        chosen = {n: rest.pop(n) for n in list(rest) if any(_has(n, word) for word in words)}
        if chosen:
            training.append((title, chosen, logarithmic))
    training.sort(key=lambda panel: panel[0] != "losses")  # the most important panel first
    others: dict[str, dict[str, Curve]] = {}
    for name, curve in rest.items():
        others.setdefault(name.rpartition("/")[0] or name, {})[name] = curve
    return [*training, *((title, lines, False) for title, lines in others.items()), *found]


def plot_curves(
    curves: Mapping[str, Curve], evaluated: Iterable[str] = (), metrics: Iterable[Metric] = (), columns: int = 3
) -> matplotlib.figure.Figure:
    """Plots all panels in one figure; arguments as for `panels`.

    Raises:
      ValueError: no curves.
    """
    shown = panels(curves, evaluated, metrics)
    if not shown:
        raise ValueError("no curves to plot")
    rows = -(-len(shown) // columns)
    figure = matplotlib.figure.Figure(figsize=(4.2 * columns, 2.9 * rows), layout="constrained")
    for i, (title, lines, logarithmic) in enumerate(shown):
        axes = figure.add_subplot(rows, columns, i + 1)
        for name, (steps, values) in sorted(lines.items()):
            label = name.split("/", 1)[-1]
            axes.plot(steps, values, label=label, linewidth=1.2, marker="." if len(steps) < 4 else None)
        if logarithmic and all((v[np.isfinite(v)] > 0).all() for _, v in lines.values()):
            axes.set_yscale("log")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        if 1 < len(lines) <= 12:
            axes.legend(fontsize=7)
    return figure


def _has(name: str, word: str) -> bool:
    return word in name if len(word) > 2 else word in name.replace("/", "_").split("_")


def _is_fraction(unit: Unit | None, values: np.ndarray) -> bool:
    return unit is Unit.FRACTION if unit else bool(np.all((values >= 0) & (values <= 1)))
