"""Plots of the page of a sweep, as coordinates of SVG elements: curves of the loss, and parallel coordinates."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from svilm_jax.sweeps.settings import Setting, shown

LOSS = "loss/total"
_POINTS = 400  # of a curve
_WIDTH, _HEIGHT = 860.0, 320.0  # of the plot area, in units of the SVG
_TICKS = 8  # of an axis, at most


@dataclasses.dataclass(frozen=True)
class Plot:
    """Curves in the coordinates of an SVG, and the ticks of both axes as (position, text)."""

    lines: Sequence[tuple[str, str, str]]  # color, title, points
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    width: float = _WIDTH
    height: float = _HEIGHT


@dataclasses.dataclass(frozen=True)
class Axis:
    """Axis of parallel coordinates: its name, its place, and its ticks as (position, text)."""

    name: str
    x: float
    ticks: Sequence[tuple[float, str]]


@dataclasses.dataclass(frozen=True)
class ParallelPlot:
    """One line per setting across one axis per key, and that of a metric."""

    axes: Sequence[Axis]
    lines: Sequence[tuple[str, str, str]]  # color, title, points
    width: float = _WIDTH
    height: float = _HEIGHT


def plot_losses(folder: Path, settings: Sequence[Setting]) -> Plot | None:
    """Returns the curves of the loss of all trials over the steps; None if none has been logged."""
    curves = [
        (setting, row, points)
        for setting in settings
        for row in setting.rows
        if len(points := read_curve(folder / row.trial.id / "metrics.jsonl")) > 1
    ]
    if not curves:
        return None
    steps = [step for _, _, points in curves for step, _ in points]
    losses = [loss for _, _, points in curves for _, loss in points]
    low, high = min(losses), max(losses)
    span, last = (high - low) or 1.0, max(steps) or 1

    def place(step: float, loss: float) -> str:
        return f"{step / last * _WIDTH:.1f},{(high - loss) / span * _HEIGHT:.1f}"

    return Plot(
        [
            (setting.color, f"{row.trial.id}: {setting.label}", " ".join(place(*point) for point in points))
            for setting, row, points in curves
        ],
        [(part / 4 * _WIDTH, f"{part / 4 * last:.0f}") for part in range(5)],
        [(part / 4 * _HEIGHT, f"{high - part / 4 * span:.3g}") for part in range(5)],
    )


def read_curve(file: Path) -> list[tuple[int, float]]:
    """Reads (step, loss) of a metrics.jsonl, at most `_POINTS` evenly spaced lines and the last one."""
    if not file.is_file():
        return []
    lines = file.read_bytes().split(b"\n")[:-1]  # the last line may be incomplete
    stride = max(1, len(lines) // _POINTS)
    points = []
    for number, line in enumerate(lines):
        if number % stride and number != len(lines) - 1:
            continue
        try:
            record = json.loads(line)
            points.append((int(record["step"]), float(record[LOSS])))
        except (ValueError, KeyError, TypeError):  # a line of an evaluation, or damaged
            continue
    return points


def plot_parallel(settings: Sequence[Setting], keys: Sequence[str], metric: str) -> ParallelPlot | None:
    """Returns parallel coordinates of the settings that have a metric; None if there are fewer than two keys or lines.

    Args:
      settings: of the sweep.
      keys: of the axes.
      metric: of the last axis, its mean over the seeds.
    """
    measured = [setting for setting in settings if metric in setting.metrics]
    if len(keys) < 2 or len(measured) < 2:
        return None
    columns = [[setting.changes.get(key, "") for setting in measured] for key in keys]
    columns.append([setting.metrics[metric].mean for setting in measured])
    heights, axes = [], []
    for place, (name, values) in enumerate(zip([*keys, metric], columns, strict=True)):
        positions, ticks = _scale(values)
        heights.append(positions)
        axes.append(Axis(name, place / len(keys) * _WIDTH, ticks))
    return ParallelPlot(
        axes,
        [
            (
                setting.color,
                f"{setting.label}: {setting.metrics[metric]}",
                " ".join(f"{axis.x:.1f},{column[row]:.1f}" for axis, column in zip(axes, heights, strict=True)),
            )
            for row, setting in enumerate(measured)
        ],
    )


def _scale(values: Sequence[Any]) -> tuple[list[float], list[tuple[float, str]]]:
    """Returns the heights of values on an axis, and its ticks: numbers to scale, others evenly in their order."""
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        low, high = min(values), max(values)
        place = {value: (high - value) / ((high - low) or 1) * _HEIGHT for value in values}
        marked = sorted(place) if len(place) <= _TICKS else [low, high]
        return [place[value] for value in values], [(place[value], shown(value)) for value in marked]
    texts = [shown(value) for value in values]
    order = list(dict.fromkeys(texts))
    heights = {text: number / max(len(order) - 1, 1) * _HEIGHT for number, text in enumerate(order)}
    return [heights[text] for text in texts], [(heights[text], text) for text in order]
