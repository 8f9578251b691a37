"""Constraints on config fields, declared with the field as `typing.Annotated` metadata.

A choice between names is a `typing.Literal`; a number has a `Range`; text that must not be empty is `Text`; a
path is `LocalPath`. `svilm_jax/config/resolution.py` checks them, all in one place.
"""

import dataclasses
import math
from typing import Annotated, Any

from svilm_jax.config.errors import ConfigError
from svilm_jax.config.local_paths import scheme_of


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included unless said otherwise; NaN and infinity are never included."""

    low: float
    high: float
    low_included: bool = True
    high_included: bool = True

    def problem(self, value: Any) -> str:
        """What was expected, or "" where `value` is in the range."""
        above = value >= self.low if self.low_included else value > self.low
        below = value <= self.high if self.high_included else value < self.high
        if above and below and math.isfinite(value):
            return ""
        low = f"{'at least' if self.low_included else 'more than'} {_number(self.low)}"
        high = f"{'at most' if self.high_included else 'less than'} {_number(self.high)}"
        return f"expected a number of {low} and {high}"


def check_number(name: str, value: float, numbers: Range) -> None:
    """Raises ConfigError for a number of the command line that is out of its range; `name` is the option."""
    if problem := numbers.problem(value):
        raise ConfigError(f"{name}={value}: {problem}")


@dataclasses.dataclass(frozen=True)
class NonEmpty:
    """Text or a sequence with something in it."""

    def problem(self, value: Any) -> str:
        """What was expected, or "" where there is something."""
        given = value.strip() if isinstance(value, str) else value
        return (
            ""
            if given
            else "expected at least one"
            if not isinstance(value, str)
            else "expected text that is not empty"
        )


@dataclasses.dataclass(frozen=True)
class Local:
    """A path on this machine, or text that is no path at all."""

    def problem(self, value: Any) -> str:
        """What was expected, or "" where there is no `scheme://`."""
        scheme = scheme_of(value)
        return f"expected a path on this machine; {scheme}:// is not supported" if scheme else ""


@dataclasses.dataclass(frozen=True)
class PartialOf:
    """A table of changes to the fields of a config dataclass: each key must be one of its fields."""

    of: type
    without: tuple[str, ...] = ()


def _number(value: float) -> str:
    return f"{value:g}" if value == float(f"{value:g}") and not 1e6 <= abs(value) < 1e15 else f"{value:,.0f}"


LARGEST = 2**31 - 1
Count = Annotated[int, Range(1, LARGEST)]
CountOrZero = Annotated[int, Range(0, LARGEST)]
Positive = Annotated[float, Range(0, 1e6, low_included=False)]
PositiveOrZero = Annotated[float, Range(0, 1e6)]
Share = Annotated[float, Range(0, 1)]
Decay = Annotated[float, Range(0, 1, high_included=False)]  # of an average over steps: at 1 nothing new enters
Temperature = Annotated[float, Range(1e-4, 1e3)]
Text = Annotated[str, NonEmpty()]
LocalPath = Annotated[str, Local()]
