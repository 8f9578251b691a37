"""Metric tables that show every metric together with its baselines, one metric per row."""

from collections.abc import Mapping

# Suffixes that make a metric a baseline of the metric without the suffix, with their display names.
BASELINES: Mapping[str, str] = {
    "chance": "chance",
    "majority": "most frequent",
    "majority_by_kind": "most frequent by kind",
    "random_tower": "random tower",
    "oracle_colors": "colors",
    "oracle": "colors + background",
    "phrase_blind": "phrase-blind",
    "ceiling": "ceiling of the patch grid",
    "raw_pixels": "raw pixels",
    "raw_mean_color": "mean color",
    "raw_small_pictures": "downsampled frames",
    "all_foreground": "all foreground",
    "constant_span": "one span for all",
    "evenly_spaced": "evenly spaced",
}


def with_baselines(metrics: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Returns metric -> its baselines by display name, for every metric that is not a baseline itself; order is kept.

    A metric with a baseline's suffix but without the metric it refers to is listed on its own.
    """
    rows: dict[str, dict[str, float]] = {name: {} for name in metrics if _stem(name, metrics) is None}
    for name, value in metrics.items():
        if (found := _stem(name, metrics)) is not None:
            stem, ending = found
            rows.setdefault(stem, {})[BASELINES[ending]] = value
    return rows


def is_fraction(name: str) -> bool:
    """Returns whether a metric is a fraction between 0 and 1; others are ranks, counts, losses, penalties, times."""
    return not (
        name.startswith("train/")
        or name.endswith(("groups_used", "penalty", "/block", "/loss"))
        or "MedR" in name
        or "MeanR" in name
    )


def format_value(name: str, value: float) -> str:
    """Formats a fraction as a percentage, anything else as a number."""
    if is_fraction(name):
        return f"{100 * value:.1f} %"
    if name.endswith(("penalty", "/loss")):
        return f"{value:g}"
    return f"{value:.0f}" if name.startswith("train/") or name.endswith("/block") else f"{value:.1f}"


def format_table(metrics: Mapping[str, float]) -> str:
    """Formats the metrics as lines of text: name, value, baselines."""
    rows = [
        (name, format_value(name, metrics[name]), ", ".join(f"{k} {format_value(name, v)}" for k, v in found.items()))
        for name, found in with_baselines(metrics).items()
    ]
    if not rows:
        return "no metrics"
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    return "\n".join(
        f"{name:<{widths[0]}}  {value:>{widths[1]}}{'  (' + baselines + ')' if baselines else ''}"
        for name, value, baselines in rows
    )


def _stem(name: str, metrics: Mapping[str, float]) -> tuple[str, str] | None:
    for ending in BASELINES:
        stem = name.removesuffix(f"_{ending}")
        if stem != name and stem in metrics:
            return stem, ending
    return None
