"""Format of metrics.json: every scalar under its name, and the metric records under `records`.

The scalars are for scripts and spreadsheets, which look up a name; the records are what tables, the report and sweeps
read. A file of scalars alone is read as metrics without unit and baselines.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from svilm_jax.errors import UserError
from svilm_jax.evaluation.metric import Metric, Unit, scalars
from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.filesystem.json_reader import JsonError, read_document

RECORDS = "records"


class MetricsFileError(UserError, ValueError):
    """A metrics.json with another content; the message names the file and the remedy."""


def write_metrics(path: Path, metrics: Iterable[Metric]) -> None:
    """Writes a metrics.json atomically; its folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write_text(json.dumps(to_document(metrics), indent=1) + "\n")


def read_metrics(path: Path) -> list[Metric]:
    """Reads the metrics of a metrics.json; none if the file does not exist.

    Raises:
      MetricsFileError: another content.
    """
    if not path.is_file():
        return []
    try:
        return from_document(read_document(path))
    except (JsonError, ValueError) as error:
        reason = f"not JSON ({error.reason})" if isinstance(error, JsonError) else error
        raise MetricsFileError(f"{path}: {reason}; evaluate the run again (`svilm eval`)") from error


def read_scalars(path: Path) -> dict[str, float]:
    """Reads name -> value of all metrics and baselines of a metrics.json; empty if the file does not exist.

    Raises:
      MetricsFileError: another content.
    """
    return scalars(read_metrics(path))


def to_document(metrics: Iterable[Metric]) -> dict[str, Any]:
    """Returns the content of a metrics.json."""
    metrics = list(metrics)
    return {**scalars(metrics), RECORDS: [dataclasses.asdict(metric) for metric in metrics]}


def from_document(document: Any) -> list[Metric]:
    """Returns the metrics of the content of a metrics.json.

    Raises:
      ValueError: another content.
    """
    if not isinstance(document, Mapping):
        raise ValueError("expected one object")
    numbers = {name: value for name, value in document.items() if name != RECORDS}
    _check_numbers(numbers, "expected numbers")
    if RECORDS not in document:
        return [Metric(name, float(value)) for name, value in numbers.items()]
    if not isinstance(document[RECORDS], list):
        raise ValueError(f"{RECORDS}: expected a list")
    return [_record(entry, f"{RECORDS}[{place}]") for place, entry in enumerate(document[RECORDS])]


def _record(entry: Any, where: str) -> Metric:
    try:
        metric = Metric(**{**entry, "unit": Unit(entry["unit"])})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: expected a metric record ({error})") from error
    if not isinstance(metric.name, str) or not isinstance(metric.baselines, Mapping):
        raise ValueError(f"{where}: expected a name, and a table of baselines")
    _check_numbers({metric.name: metric.value, **metric.baselines}, f"{where}: expected numbers")
    return metric


def _check_numbers(values: Mapping[str, Any], expected: str) -> None:
    for name, value in values.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError(f"{expected}, found {name}={value!r:.60}")
