"""Constraints on config fields, declared with the field as `typing.Annotated` metadata.

A choice between names is a `typing.Literal`, a number has a `Range`, text that must not be empty is `Text`, and a path
is a `LocalPath`. `svilm_jax/config/resolution.py` checks all of them in one place.
"""

import dataclasses
import math
from typing import Annotated, Any

from svilm_jax.config.errors import ConfigError
from svilm_jax.config.local_paths import scheme_of


@dataclasses.dataclass(frozen=True)
class Range:
    """Range of numbers; a bound is included unless declared otherwise. NaN and infinity are never in the range."""

    low: float
    high: float
    low_included: bool = True
    high_included: bool = True

    def problem(self, value: Any) -> str:
        """Returns what was expected, or "" if `value` is in the range."""
        above = value >= self.low if self.low_included else value > self.low
        below = value <= self.high if self.high_included else value < self.high
        if above and below and math.isfinite(value):
            return ""
        low = f"{'at least' if self.low_included else 'more than'} {_number(self.low)}"
        high = f"{'at most' if self.high_included else 'less than'} {_number(self.high)}"
        return f"expected a number of {low} and {high}"


def check_number(name: str, value: float, numbers: Range) -> None:
    """Checks a number given on the command line.

    Args:
      name: the option, such as `--rows`.
      value: its value.
      numbers: range of valid values.

    Raises:
      ConfigError: the value is out of range.
    """
    if problem := numbers.problem(value):
        raise ConfigError(f"{name}={value}: {problem}")


@dataclasses.dataclass(frozen=True)
class NonEmpty:
    """Text that is not blank, or a sequence with at least one element."""

    def problem(self, value: Any) -> str:
        """Returns what was expected, or "" if `value` is not empty."""
        if isinstance(value, str):
            return "" if value.strip() else "expected text that is not empty"
        return "" if value else "expected at least one"


@dataclasses.dataclass(frozen=True)
class Local:
    """A path of the local file system, or text that is not a path.

    Attributes:
      schemes: object stores that are allowed as well.
    """

    schemes: tuple[str, ...] = ()

    def problem(self, value: Any) -> str:
        """Returns what was expected, or "" if `value` does not start with another `scheme://`."""
        scheme = scheme_of(value)
        if not scheme or scheme in self.schemes:
            return ""
        others = "".join(f" or {name}://..." for name in self.schemes)
        return f"expected a path on this machine{others}; {scheme}:// is not supported"


@dataclasses.dataclass(frozen=True)
class PartialOf:
    """A table that assigns new values to some fields of a config dataclass.

    Attributes:
      of: the dataclass.
      without: its fields that cannot be assigned.
    """

    of: type
    without: tuple[str, ...] = ()


def _number(value: float) -> str:
    return f"{value:g}" if value == float(f"{value:g}") and not 1e6 <= abs(value) < 1e15 else f"{value:,.0f}"


LARGEST = 2**31 - 1
Count = Annotated[int, Range(1, LARGEST)]
CountOrZero = Annotated[int, Range(0, LARGEST)]
Positive = Annotated[float, Range(0, 1e6, low_included=False)]
PositiveOrZero = Annotated[float, Range(0, 1e6)]
Fraction = Annotated[float, Range(0, 1)]
Decay = Annotated[float, Range(0, 1, high_included=False)]  # of a running average, which never changes at 1
Temperature = Annotated[float, Range(1e-4, 1e3)]
Text = Annotated[str, NonEmpty()]
LocalPath = Annotated[str, Local()]
LocalOrStoredPath = Annotated[str, Local(("gs", "s3"))]
