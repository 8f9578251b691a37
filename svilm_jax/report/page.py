"""HTML report of a finished run: metrics, curves and examples in a self-contained report.html."""

import base64
import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib.figure

from svilm_jax.config import Config
from svilm_jax.errors import UserError
from svilm_jax.evaluation.clips import FAILED_FRACTION
from svilm_jax.evaluation.metric import Metric, Unit, display_name
from svilm_jax.evaluation.metrics_file import read_metrics
from svilm_jax.evaluation.registry import report_sections
from svilm_jax.evaluation.section import Section
from svilm_jax.evaluation.table import format_value
from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.inference.encoder import Encoder
from svilm_jax.report import config_entries, curves, figures
from svilm_jax.report.examples import Examples, collect

log = logging.getLogger(__name__)

_TRAINING = {"train": Section("Training")}


class ReportError(UserError, ValueError):
    """A folder for which no report can be made; the message names the remedy."""


@dataclasses.dataclass(frozen=True)
class MetricRow:
    """A metric on the page.

    Attributes:
      name: name of the metric.
      label: its display name.
      text: its value.
      fraction: its value if it is a fraction, which is drawn as a bar.
      baselines: (display name, text, fraction or None).
      lower_is_better: whether the page has to say so.
    """

    name: str
    label: str
    text: str
    fraction: float | None
    baselines: list[tuple[str, str, float | None]]
    lower_is_better: bool = False


@dataclasses.dataclass(frozen=True)
class FigureEntry:
    """A figure with its text; `data` is the PNG in base64."""

    title: str
    text: str
    data: str


def write_report(workdir: Path, encoder: Encoder, config: Config, environment: Mapping[str, Any]) -> Path:
    """Writes WORKDIR/report.html, and its figures as WORKDIR/figures/*.png.

    Args:
      workdir: workdir of a run; metrics.json and metrics.jsonl are read if they exist.
      encoder: the model of the run.
      config: config of the run.
      environment: versions, device, command and other facts for the end of the page.

    Returns:
      The path of the page, a self-contained file.

    Raises:
      ReportError: no such folder.
      MetricsFileError: metrics.json has another content.
      ConfigError, DatasetError: the config's evaluators or dataset cannot be opened.
    """
    workdir = Path(workdir)
    if not workdir.is_dir():
        raise ReportError(f"{workdir}: no such folder; expected the --workdir of a run")
    metrics = read_metrics(workdir / "metrics.json")
    examples = collect(encoder, config)
    notes = list(examples.notes)
    if not metrics:
        notes.insert(0, "This run has no metrics.json: it is unfinished, or has not been evaluated (`svilm eval`).")
    by_prefix = report_sections(config)
    figure_entries = _figures(workdir, examples, metrics, list(by_prefix), notes)
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=workdir.resolve().name,
            headlines=headlines(metrics, by_prefix),
            sections=sections(metrics, {**by_prefix, **_TRAINING}),
            figures=figure_entries,
            notes=notes,
            config=[(entry.key, repr(entry.value), entry.changed) for entry in config_entries.entries(config)],
            environment={key: str(value) for key, value in environment.items()},
        )
    )
    path = workdir / "report.html"
    with atomic_write(path) as file:
        file.write_text(page, encoding="utf-8")
    return path


def headlines(metrics: Iterable[Metric], by_prefix: Mapping[str, Section]) -> list[MetricRow]:
    """Returns the headline metrics of the sections that exist, in that order, each with its main baselines."""
    found = {metric.name: metric for metric in metrics}
    return [
        _row(found[name], section.minor_baselines)
        for prefix, section in by_prefix.items()
        if section.headline and (name := f"{prefix}/{section.headline}") in found
    ]


def sections(metrics: Iterable[Metric], by_prefix: Mapping[str, Section]) -> list[tuple[str, str, list[MetricRow]]]:
    """Returns (title, text, rows) of every prefix that has metrics, in the order of `by_prefix`, unknown ones last."""
    found: dict[str, list[MetricRow]] = {}
    for metric in metrics:
        prefix, _, name = metric.name.rpartition("/")
        if name.startswith(FAILED_FRACTION) and metric.value == 0:
            continue  # no clip was left out, and the row is of no interest
        found.setdefault(prefix or name, []).append(_row(metric))
    order = [prefix for prefix in by_prefix if prefix in found]
    order += [prefix for prefix in found if prefix not in by_prefix]
    described = [(by_prefix.get(prefix, Section(prefix)), found[prefix]) for prefix in order]
    return [(section.title, section.text, rows) for section, rows in described]


def _row(metric: Metric, hidden: Sequence[str] = ()) -> MetricRow:
    def fraction(value: float) -> float | None:
        return value if metric.unit is Unit.FRACTION and 0 <= value <= 1 else None

    return MetricRow(
        name=metric.name,
        label=metric.label,
        text=format_value(metric.value, metric.unit),
        fraction=fraction(metric.value),
        baselines=[
            (display_name(name), format_value(value, metric.unit), fraction(value))
            for name, value in metric.baselines.items()
            if name not in hidden
        ],
        lower_is_better=metric.higher_is_better is False,
    )


def _figures(
    workdir: Path, examples: Examples, metrics: Iterable[Metric], evaluated: Sequence[str], notes: list[str]
) -> list[FigureEntry]:
    """Draws all figures for which there is data; missing ones are noted."""
    plots: list[tuple[str, str, str, matplotlib.figure.Figure]] = []
    log_file = workdir / "metrics.jsonl"
    series, bad = curves.read_curves(log_file) if log_file.is_file() else ({}, 0)
    if bad:
        notes.append(f"{bad} lines of metrics.jsonl could not be read and were left out.")
    if series:
        text = "Logged in metrics.jsonl; where a resumed run repeated a step, the later value counts."
        plots.append(("curves", "Training", text, curves.plot_curves(series, evaluated, metrics)))
    else:
        notes.append("There are no training curves: metrics.jsonl is missing or empty.")
    if examples.retrieval:
        text = (
            "For each query the most similar clips, best first, with their cosine and their own "
            "caption; the correct one is framed in green. Queries are evenly spaced over the split, not selected by "
            "their results, except those marked as the worst."
        )
        plots.append(
            ("retrieval", "Text queries and retrieved clips", text, figures.plot_retrieval(examples.retrieval))
        )
    if examples.grounding:
        text = (
            "For each phrase the heat map of its best-matching group, over the clip's frames. The cross marks its "
            "maximum, the white line the true outline of the object, which is not used in training."
        )
        figure = figures.plot_grounding(examples.grounding, examples.tubelet)
        plots.append(("grounding", "Phrase grounding", text, figure))
    if examples.splices:
        partner = "a look-alike (same background and colors)" if examples.twins else "another clip"
        text = (
            f"Cosine similarity between the tokens of all pairs of temporal indices of a clip spliced with {partner}."
        )
        figure = figures.plot_similarity(examples.splices[:4])
        plots.append(
            (
                "similarity",
                "Similarity over time",
                f"{text} Next to it, the pairs on the same side of the true mask.",
                figure,
            )
        )
        text = (
            f"Every clip is spliced with {partner}. Upper bar: the true mask; lower bar: the predicted span. "
            "Orange is the foreground, blue the background."
        )
        figure = figures.plot_spans(examples.splices, examples.tubelet[0])
        plots.append(("temporal_grouping", "Temporal grouping", text, figure))
    folder = workdir / "figures"
    folder.mkdir(exist_ok=True)
    entries = []
    for name, title, text, figure in plots:
        data = figures.png(figure)
        (folder / f"{name}.png").write_bytes(data)
        entries.append(FigureEntry(title, text, base64.b64encode(data).decode("ascii")))
    return entries


def _environment() -> jinja2.Environment:
    loader = jinja2.PackageLoader("svilm_jax.report", "templates")
    # Captions come from user files: their content is escaped as text.
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
