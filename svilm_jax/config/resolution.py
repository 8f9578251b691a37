"""Resolution of a nested config table into frozen dataclasses, checking each value against its field's declaration."""

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any

import ml_collections

from svilm_jax.config.constraints import PartialOf
from svilm_jax.config.cross_checks import check_fields_together
from svilm_jax.config.errors import ConfigError, nearest, shown
from svilm_jax.config.schema import Config

_T = typing.TypeVar("_T")
_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def default_config() -> ml_collections.ConfigDict:
    """Every field with its default, locked: a config file changes values and cannot invent keys.

    `objectives`, `evaluators` and `init.model` start empty and unlocked: what they may hold is checked at start.
    """
    config = ml_collections.ConfigDict(dataclasses.asdict(Config()), convert_dict=True)
    config.lock()
    config.objectives.unlock()
    config.evaluators.unlock()
    config.init.model.unlock()
    return config


def parse_arg(arg: str | None, **defaults: Any) -> types.SimpleNamespace:
    """The part after the colon of `--config=file.py:key=value,key=value`, with its defaults and their types.

    Raises:
      ConfigError: an unknown key or a value of another type than the default's.
    """
    values = dict(defaults)
    for item in filter(None, (arg or "").split(",")):
        key, separator, text = item.partition("=")
        if key not in defaults or not separator:
            raise ConfigError(
                f"config argument {item!r}: expected key=value, key one of {sorted(defaults)}{nearest(key, defaults)}"
            )
        kind = type(defaults[key])
        try:
            values[key] = {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
        except (KeyError, ValueError) as error:
            raise ConfigError(f"config argument {key}={text!r}: expected a {kind.__name__}") from error
    return types.SimpleNamespace(**values)


def resolve(config: ml_collections.ConfigDict | Mapping[str, Any]) -> Config:
    """The frozen form of a config.

    Raises:
      ConfigError: a key that does not exist (with the nearest one that does), a value of another type or out of its
        range, or values that do not fit each other.
    """
    tree = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else config
    resolved: Config = _build(Config, tree, "config")
    check_fields_together(resolved)
    return resolved


def resolve_options(kind: type[_T], tree: Mapping[str, Any], path: str) -> _T:
    """The options of one entry of an open table (`objectives`, `evaluators`) as the frozen dataclass `kind`.

    Raises:
      ConfigError: as `resolve`; `path` names the entry.
    """
    return _build(kind, tree, path)


@functools.cache
def fields_of(kind: type) -> Mapping[str, Any]:
    """Name -> type hint with its constraints, of the fields of a config dataclass."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type hint without `Annotated`, and its constraints."""
    if typing.get_origin(hint) is typing.Annotated:
        return hint.__origin__, hint.__metadata__
    return hint, ()


def check_key(key: Any, known: typing.Iterable[str], path: str) -> None:
    """Raises ConfigError, with the nearest name, unless `key` is one of the `known`."""
    known = list(known)
    if key not in known:
        raise ConfigError(f"{path}.{key}: no such key{nearest(str(key), known)}; known: {', '.join(sorted(known))}")


def _build(kind: type, tree: Any, path: str) -> Any:
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{path}={shown(tree)}: expected a table of fields")
    hints = fields_of(kind)
    for key in tree:
        check_key(key, hints, path)
    return kind(**{key: checked(hints[key], value, f"{path}.{key}") for key, value in tree.items()})


def checked(hint: Any, value: Any, path: str) -> Any:
    """`value` as its type hint wants it; whole numbers pass as floats, lists as tuples.

    Raises:
      ConfigError: another type, or outside of what the field declares.
    """
    kind, constraints = unwrapped(hint)
    if dataclasses.is_dataclass(kind):
        return _build(typing.cast(type, kind), value, path)
    changes = next((constraint for constraint in constraints if isinstance(constraint, PartialOf)), None)
    if changes is not None:
        return _changes(changes, value, path)
    value = _typed(kind, value, path)
    for constraint in constraints:
        if problem := constraint.problem(value):
            raise ConfigError(f"{path}={shown(value)}: {problem}")
    return value


def _typed(kind: Any, value: Any, path: str) -> Any:
    origin, members = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        if not any(value == choice and type(value) is type(choice) for choice in members):
            known = ", ".join(repr(choice) for choice in members)
            raise ConfigError(f"{path}={shown(value)}: expected one of {known}{nearest(str(value), map(str, members))}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{path}={shown(value)}: expected a sequence")
        if members[-1] is Ellipsis:
            members = (members[0],) * len(value)
        if len(members) != len(value):
            raise ConfigError(f"{path}={shown(value)}: expected {len(members)} values")
        return tuple(checked(m, v, f"{path}[{i}]") for i, (m, v) in enumerate(zip(members, value, strict=True)))
    if origin is not None or kind is Any:  # an open table
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path}={shown(value)}: expected a table")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{path}: a number of {value.bit_length()} bits; expected a smaller one") from None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{path}={shown(value)}: expected {_NAMES[kind]}")
    return value


def _changes(changes: PartialOf, tree: Any, path: str) -> dict[str, Any]:
    """Some fields of a config dataclass, each checked; tables inside may be incomplete, too."""
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{path}={shown(tree)}: expected a table of fields")
    hints = {key: hint for key, hint in fields_of(changes.of).items() if key not in changes.without}
    found = {}
    for key, value in tree.items():
        check_key(key, hints, path)
        kind, _ = unwrapped(hints[key])
        inside = PartialOf(kind) if dataclasses.is_dataclass(kind) else None  # type: ignore[arg-type]
        found[key] = (
            checked(hints[key], value, f"{path}.{key}") if inside is None else _changes(inside, value, f"{path}.{key}")
        )
    return found
