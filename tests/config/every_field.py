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
    """(path below `config`, type hint) of the leaves of a config dataclass; open tables are left out."""
    for name, hint in fields_of(kind).items():
        plain, constraints = unwrapped(hint)
        if dataclasses.is_dataclass(plain):
            yield from fields(plain, (*path, name))
        elif typing.get_origin(plain) is not Mapping and not any(isinstance(c, PartialOf) for c in constraints):
            yield (*path, name), hint


def fields_of_tables(config: Config) -> Iterator[tuple[Path, typing.Any]]:
    """The same of the entries of both open tables, options that the config leaves at their defaults included."""
    for name in config.objectives:
        yield from fields(OBJECTIVES[name], ("objectives", name))
    for name, entry in config.evaluators.items():
        yield from fields(EVALUATORS[entry.get("kind", name)][0], ("evaluators", name))


def every_kind() -> Iterator[tuple[str, type]]:
    """All dataclasses that options come from, with a name."""
    yield "config", Config
    for name, kind in OBJECTIVES.items():
        yield f"config.objectives.{name}", kind
    for name, (kind, _) in EVALUATORS.items():
        yield f"config.evaluators.{name}", kind


def replaced(tree: Mapping[str, typing.Any], path: Path, value: object) -> dict[str, typing.Any]:
    """A nested table with another value at a path; tables on the way are made."""
    key, *rest = path
    return {**tree, key: replaced(tree.get(key, {}), tuple(rest), value) if rest else value}


# What is put into each field, by the name that a test gives it.
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
