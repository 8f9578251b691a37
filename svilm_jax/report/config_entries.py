"""Resolved config as a list of entries: key, value, default and grade of every field."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from svilm_jax.config import Config
from svilm_jax.config.constraints import PartialOf
from svilm_jax.config.grades import Grade
from svilm_jax.config.resolution import entry_kind, fields_of, grade_of, unwrapped
from svilm_jax.evaluation.registry import EVALUATORS, evaluator_kind
from svilm_jax.objectives.registry import objective_schema


@dataclasses.dataclass(frozen=True)
class Entry:
    """One value of a resolved config.

    Attributes:
      key: path of the field, such as `config.train.steps`.
      value: value in the config.
      default: value that the schema declares; None if it declares none.
      grade: what the default rests on; None without a default.
    """

    key: str
    value: Any
    default: Any = None
    grade: Grade | None = None

    @property
    def changed(self) -> bool:
        """Whether the value differs from the default; True if there is none."""
        return self.grade is None or self.value != self.default


def entries(config: Config) -> Iterator[Entry]:
    """Yields every field of a config in the order of the schema, including the options of its open tables."""
    for entry in _fields(Config, dataclasses.asdict(config), "config"):
        if entry.key == "config.objectives":
            for name, options in config.objectives.items():
                yield from _fields(objective_schema(name), options, f"{entry.key}.{name}")
        elif entry.key == "config.evaluators":
            for name, options in config.evaluators.items():
                if "kind" in options:
                    yield Entry(f"{entry.key}.{name}.kind", options["kind"])
                schema, _ = EVALUATORS[evaluator_kind(name, options)]
                yield from _fields(schema, options, f"{entry.key}.{name}")
        else:
            yield entry


def _fields(kind: type, values: Mapping[str, Any], path: str) -> Iterator[Entry]:
    """Yields the fields of a dataclass; `values` may lack some, which then have their defaults."""
    defaults = dataclasses.asdict(kind())
    for name, hint in fields_of(kind).items():
        plain, constraints = unwrapped(hint)
        key, value = f"{path}.{name}", values.get(name, defaults[name])
        if dataclasses.is_dataclass(plain):
            yield from _fields(plain, value, key)  # type: ignore[arg-type]
        elif value and (entry := entry_kind(plain)) is not None:
            for label, options in value.items():
                yield from _fields(entry, options, f"{key}.{label}")
        elif value and any(isinstance(constraint, PartialOf) for constraint in constraints):
            yield from _leaves(value, key)
        else:
            yield Entry(key, value, defaults[name], grade_of(hint))


def _leaves(values: Mapping[str, Any], path: str) -> Iterator[Entry]:
    """Yields the values of a nested table without defaults."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.{name}")
        else:
            yield Entry(f"{path}.{name}", value)
