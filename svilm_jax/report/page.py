"""HTML report of a finished run: metrics, curves and examples in a self-contained report.html."""

import base64
import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import matplotlib.figure

from svilm_jax.config import Config
from svilm_jax.errors import UserError
from svilm_jax.evaluation.metrics_file import read_metrics
from svilm_jax.evaluation.table import format_value, is_fraction, with_baselines
from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.inference.encoder import Encoder
from svilm_jax.report import curves, figures, metric_labels
from svilm_jax.report.examples import Examples, collect

log = logging.getLogger(__name__)

# Shown first, if present.
HEADLINES = (
    "retrieval/t2v_R1",
    "retrieval_hard/t2v_R1",
    "grounding/pointing_game",
    "grouping/tubelet_accuracy",
)
_MINOR_BASELINES = ("mean color", "downsampled frames")  # the better one is listed as "raw pixels"


class ReportError(UserError, ValueError):
    """A folder for which no report can be made; the message names the remedy."""


@dataclasses.dataclass(frozen=True)
class MetricRow:
    """A metric on the page; `baselines` are (display name, text, fraction between 0 and 1 or None)."""

    name: str
    label: str
    text: str
    fraction: float | None
    baselines: list[tuple[str, str, float | None]]


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
      MetricsFileError: metrics.json is not a flat object of numbers.
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
    figure_entries = _figures(workdir, examples, notes)
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=workdir.resolve().name,
            headlines=headlines(metrics),
            sections=sections(metrics),
            figures=figure_entries,
            notes=notes,
            config=flat_config(config),
            environment={key: str(value) for key, value in environment.items()},
        )
    )
    path = workdir / "report.html"
    with atomic_write(path) as file:
        file.write_text(page, encoding="utf-8")
    return path


def rows(metrics: Mapping[str, float]) -> list[MetricRow]:
    """Returns one row per metric with its baselines, in file order."""
    return [
        MetricRow(
            name=name,
            label=metric_labels.label(name),
            text=format_value(name, metrics[name]),
            fraction=_fraction(name, metrics[name]),
            baselines=[(words, format_value(name, value), _fraction(name, value)) for words, value in found.items()],
        )
        for name, found in with_baselines(metrics).items()
    ]


def headlines(metrics: Mapping[str, float]) -> list[MetricRow]:
    """Returns the rows of `HEADLINES` that exist, in that order, each with its main baselines."""
    found = {row.name: row for row in rows(metrics)}
    chosen = [found[name] for name in HEADLINES if name in found]
    # The table has both kinds of raw pixels; the better one is enough here.
    return [
        dataclasses.replace(row, baselines=[b for b in row.baselines if b[0] not in _MINOR_BASELINES]) for row in chosen
    ]


def sections(metrics: Mapping[str, float]) -> list[tuple[str, str, list[MetricRow]]]:
    """Returns (title, text, rows) of every section that has rows; documented ones first, in their order."""
    by_section: dict[str, list[MetricRow]] = {}
    for row in rows(metrics):
        if "failed_fraction" in row.name and row.fraction == 0:
            continue  # no clip was left out, and the row is of no interest
        by_section.setdefault(metric_labels.section(row.name), []).append(row)
    order = [*(key for key in metric_labels.SECTIONS if key in by_section)]
    order += [key for key in by_section if key not in metric_labels.SECTIONS]
    return [(*metric_labels.SECTIONS.get(key, (key, "")), by_section[key]) for key in order]


def flat_config(config: Config) -> list[tuple[str, str, bool]]:
    """Returns (dotted key, value, whether it differs from the default) of every field."""
    values, defaults = dict(_leaves(config, "")), dict(_leaves(Config(), ""))
    return [(key, repr(value), key not in defaults or defaults[key] != value) for key, value in values.items()]


def _leaves(value: Any, path: str) -> list[tuple[str, Any]]:
    if dataclasses.is_dataclass(value):
        items = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        items = list(value.items())
    else:
        return [(path, value)]
    return [leaf for name, item in items for leaf in _leaves(item, f"{path}.{name}" if path else str(name))]


def _figures(workdir: Path, examples: Examples, notes: list[str]) -> list[FigureEntry]:
    """Draws all figures for which there is data; missing ones are noted."""
    plots: list[tuple[str, str, str, matplotlib.figure.Figure]] = []
    log_file = workdir / "metrics.jsonl"
    series, bad = curves.read_curves(log_file) if log_file.is_file() else ({}, 0)
    if bad:
        notes.append(f"{bad} lines of metrics.jsonl could not be read and were left out.")
    if series:
        text = "Logged in metrics.jsonl; where a resumed run repeated a step, the later value counts."
        plots.append(("curves", "Training", text, curves.plot_curves(series)))
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


def _fraction(name: str, value: float) -> float | None:
    return value if is_fraction(name) and 0 <= value <= 1 else None
