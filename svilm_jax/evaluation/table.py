"""Text table of metrics: one metric per row, with its baselines."""

from collections.abc import Iterable

from svilm_jax.evaluation.metric import Metric, Unit, display_name


def format_table(metrics: Iterable[Metric]) -> str:
    """Formats metrics as lines of text: name, value, baselines."""
    rows = []
    for metric in metrics:
        baselines = (f"{display_name(name)} {format_value(x, metric.unit)}" for name, x in metric.baselines.items())
        rows.append((metric.name, format_value(metric.value, metric.unit), ", ".join(baselines)))
    if not rows:
        return "no metrics"
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    return "\n".join(
        f"{name:<{widths[0]}}  {value:>{widths[1]}}{'  (' + baselines + ')' if baselines else ''}"
        for name, value, baselines in rows
    )


def format_value(value: float, unit: Unit) -> str:
    """Formats a fraction as a percentage, anything else as a number."""
    match unit:
        case Unit.FRACTION:
            return f"{100 * value:.1f} %"
        case Unit.RANK | Unit.COUNT:
            return f"{value:.1f}"
        case Unit.STEPS | Unit.SECONDS:
            return f"{value:.0f}"
    return f"{value:g}"
