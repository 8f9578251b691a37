"""Metric record: a value with its unit, display name and baselines, and the scalars that it is logged as."""

import dataclasses
import enum
import math
from collections.abc import Iterable, Mapping


class Unit(enum.StrEnum):
    """Unit of a metric and of its baselines."""

    FRACTION = "fraction"  # between 0 and 1
    RANK = "rank"  # from 1
    COUNT = "count"
    STEPS = "steps"
    SECONDS = "seconds"
    NUMBER = "number"  # without a unit, or of an unknown one


@dataclasses.dataclass(frozen=True)
class Metric:
    """One number that an evaluator reports, together with what it has to be compared with.

    Attributes:
      name: unique name, `PREFIX/NAME`, such as `retrieval/t2v_R1`.
      value: its value.
      unit: unit of the value and of the baselines.
      label: display name; "": the last part of the name.
      higher_is_better: None for a number that is neither, such as a step count.
      baselines: name -> what is reached without the model, or by a restricted one, such as `chance`.
    """

    name: str
    value: float
    unit: Unit = Unit.NUMBER
    label: str = ""
    higher_is_better: bool | None = None
    baselines: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or display_name(self.name.rpartition("/")[2]))

    def scalars(self) -> dict[str, float]:
        """Returns the value under the metric's name, and every baseline under `NAME_BASELINE`."""
        return {self.name: self.value} | {f"{self.name}_{name}": value for name, value in self.baselines.items()}


Reported = Metric | tuple[str, float]


def as_metric(reported: Reported) -> Metric:
    """Returns the record of what an evaluator yields: a metric, or a name and a value without unit and baselines.

    Raises:
      TypeError: anything else.
    """
    match reported:
        case Metric():
            return reported
        case (str(name), value):
            return Metric(name, float(value))
    raise TypeError(f"an evaluator reported {reported!r}: expected a Metric, or a tuple (name, value)")


def scalars(reported: Iterable[Reported]) -> dict[str, float]:
    """Returns name -> value of all metrics and baselines, for curves and for files that other programs read.

    Raises:
      ValueError: two of them have the same name, or one is not finite.
    """
    values: dict[str, float] = {}
    for metric in map(as_metric, reported):
        found = metric.scalars()
        if duplicates := sorted(found.keys() & values.keys()):
            raise ValueError(f"metrics {duplicates} are reported twice")
        values |= found
    if bad := sorted(name for name, value in values.items() if not math.isfinite(value)):
        raise ValueError(f"metrics {bad} are not finite")
    return values


def display_name(name: str) -> str:
    """Returns the words of a name: `raw_pixels` -> "raw pixels"."""
    return name.replace("_", " ")
