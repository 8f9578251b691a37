"""Every config field by its path, with the values that a test assigns to it."""

import dataclasses
import math
import typing
from collections.abc import Iterator, Mapping

from svilm_jax.config import Config
from svilm_jax.config.constraints import PartialOf
from svilm_jax.config.resolution import fields_of, unwrapped
from svilm_jax.evaluation.registry import EVALUATORS
from svilm_jax.objectives.registry import OBJECTIVES

Path = tuple[str, ...]


def fields(kind: type = Config, path: Path = ()) -> Iterator[tuple[Path, typing.Any]]:
    """Yields (path below `config`, type hint) of the leaves of a config dataclass, without open tables."""
    for name, hint in fields_of(kind).items():
        plain, constraints = unwrapped(hint)
        if dataclasses.is_dataclass(plain):
            yield from fields(plain, (*path, name))
        elif typing.get_origin(plain) is not Mapping and not any(isinstance(c, PartialOf) for c in constraints):
            yield (*path, name), hint


def fields_of_tables(config: Config) -> Iterator[tuple[Path, typing.Any]]:
    """Yields the same for the entries of both open tables, including options that the config does not set."""
    for name in config.objectives:
        yield from fields(OBJECTIVES[name], ("objectives", name))
    for name, entry in config.evaluators.items():
        yield from fields(EVALUATORS[entry.get("kind", name)][0], ("evaluators", name))


def every_kind() -> Iterator[tuple[str, type]]:
    """Yields (name, dataclass) of the config and of the options of each objective and evaluator."""
    yield "config", Config
    for name, kind in OBJECTIVES.items():
        yield f"config.objectives.{name}", kind
    for name, (kind, _) in EVALUATORS.items():
        yield f"config.evaluators.{name}", kind


def replaced(tree: Mapping[str, typing.Any], path: Path, value: object) -> dict[str, typing.Any]:
    """Returns a nested table with another value at a path; missing tables on the path are created."""
    key, *rest = path
    return {**tree, key: replaced(tree.get(key, {}), tuple(rest), value) if rest else value}


# Values assigned to each field: label in a failure -> value.
VALUES: dict[str, object] = {
    "0": 0,
    "-1": -1,
    "nan": math.nan,
    "inf": math.inf,
    "''": "",
    "()": (),
    "text": "nonsense",
    "None": None,
    "table": {"a": 1},
    "10**400": 10**400,
}
