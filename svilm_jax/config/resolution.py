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
from svilm_jax.config.errors import ConfigError, nearest, quoted
from svilm_jax.config.grades import Grade
from svilm_jax.config.schema import Config

_T = typing.TypeVar("_T")
_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def default_config() -> ml_collections.ConfigDict:
    """Returns a config with the default of every field, locked: a config file assigns values but cannot add keys.

    `objectives`, `evaluators`, `input.mixture` and `init.model` are empty and unlocked; `resolve` checks their keys.
    """
    config = ml_collections.ConfigDict(dataclasses.asdict(Config()), convert_dict=True)
    config.lock()
    config.objectives.unlock()
    config.evaluators.unlock()
    config.init.model.unlock()
    config.input.mixture.unlock()
    return config


def parse_arg(arg: str | None, **defaults: Any) -> types.SimpleNamespace:
    """Parses the part after the colon of `--config=file.py:key=value,key=value`.

    Args:
      arg: that part, or None.
      **defaults: the known keys, each with its default or with a tuple of choices, the first of which is the default.
        A value is parsed with the type of the default.

    Raises:
      ConfigError: an unknown key, or a value that does not parse or is not among the choices.
    """
    values = {key: value[0] if isinstance(value, tuple) else value for key, value in defaults.items()}
    for item in filter(None, (arg or "").split(",")):
        key, separator, text = item.partition("=")
        if key not in defaults or not separator:
            raise ConfigError(
                f"config argument {item!r}: expected key=value, key one of {sorted(defaults)}{nearest(key, defaults)}"
            )
        kind, choices = type(values[key]), defaults[key]
        try:
            values[key] = {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
        except (KeyError, ValueError) as error:
            raise ConfigError(f"config argument {key}={text!r}: expected {_NAMES[kind]}") from error
        if isinstance(choices, tuple) and values[key] not in choices:
            known = ", ".join(map(str, choices))
            raise ConfigError(
                f"config argument {key}={text}: expected one of {known}{nearest(text, map(str, choices))}"
            )
    return types.SimpleNamespace(**values)


def resolve(config: ml_collections.ConfigDict | Mapping[str, Any]) -> Config:
    """Validates a config and converts it to frozen dataclasses.

    Args:
      config: nested like `Config`; missing fields keep their defaults.

    Raises:
      ConfigError: an unknown key (the message suggests the nearest one), a value of the wrong type or out of range, or
        inconsistent values.
    """
    tree = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else config
    resolved: Config = _build(Config, tree, "config")
    check_fields_together(resolved)
    return resolved


def resolve_options(kind: type[_T], tree: Mapping[str, Any], path: str) -> _T:
    """Validates the options of one entry of an open table (`objectives`, `evaluators`).

    Args:
      kind: the dataclass of the options.
      tree: name -> value.
      path: name of the entry in messages.

    Raises:
      ConfigError: as for `resolve`.
    """
    return _build(kind, tree, path)


@functools.cache
def fields_of(kind: type) -> Mapping[str, Any]:
    """Returns name -> type hint, with its constraints and grade, of the fields of a config dataclass."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Returns a type hint without `Annotated`, and its constraints."""
    if typing.get_origin(hint) is typing.Annotated:
        return hint.__origin__, tuple(item for item in hint.__metadata__ if not isinstance(item, Grade))
    return hint, ()


def grade_of(hint: Any) -> Grade | None:
    """Returns the grade that a type hint declares for the default of its field, or None."""
    metadata = hint.__metadata__ if typing.get_origin(hint) is typing.Annotated else ()
    return next((item for item in metadata if isinstance(item, Grade)), None)


def entry_kind(kind: Any) -> type | None:
    """Returns the dataclass of the entries of a table such as `Mapping[str, MixtureEntry]`, or None."""
    last = (typing.get_args(kind) or (None,))[-1]
    table = isinstance(origin := typing.get_origin(kind), type) and issubclass(origin, Mapping)
    return typing.cast(type, last) if table and dataclasses.is_dataclass(last) else None


def check_key(key: Any, known: typing.Iterable[str], path: str) -> None:
    """Raises ConfigError, with the nearest known name, if `key` is not `known`."""
    known = list(known)
    if key not in known:
        raise ConfigError(f"{path}.{key}: no such key{nearest(str(key), known)}; known: {', '.join(sorted(known))}")


def _build(kind: type, tree: Any, path: str) -> Any:
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{path}={quoted(tree)}: expected a table of fields")
    hints = fields_of(kind)
    for key in tree:
        check_key(key, hints, path)
    return kind(**{key: checked(hints[key], value, f"{path}.{key}") for key, value in tree.items()})


def checked(hint: Any, value: Any, path: str) -> Any:
    """Validates a value by the type hint of its field.

    Args:
      hint: type hint, with or without constraints.
      value: the value.
      path: name of the key in messages.

    Returns:
      The value with its declared type: integers become floats and lists become tuples where these are declared.

    Raises:
      ConfigError: a value of another type, or one that violates a constraint.
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
            raise ConfigError(f"{path}={quoted(value)}: {problem}")
    return value


def _typed(kind: Any, value: Any, path: str) -> Any:
    origin, members = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        if not any(value == choice and type(value) is type(choice) for choice in members):
            known = ", ".join(repr(choice) for choice in members)
            raise ConfigError(
                f"{path}={quoted(value)}: expected one of {known}{nearest(str(value), map(str, members))}"
            )
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{path}={quoted(value)}: expected a sequence")
        if members[-1] is Ellipsis:
            members = (members[0],) * len(value)
        if len(members) != len(value):
            raise ConfigError(f"{path}={quoted(value)}: expected {len(members)} values")
        return tuple(checked(m, v, f"{path}[{i}]") for i, (m, v) in enumerate(zip(members, value, strict=True)))
    if origin is not None:  # an open table
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path}={quoted(value)}: expected a table")
        if (entry := entry_kind(kind)) is None:
            return value
        if unnamed := [name for name in value if not isinstance(name, str) or not name or "." in name]:
            raise ConfigError(f"{path}: expected names of entries, without dots; got {quoted(unnamed[0])}")
        return {name: _build(entry, options, f"{path}.{name}") for name, options in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{path}: an integer of {value.bit_length()} bits; expected a smaller one") from None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{path}={quoted(value)}: expected {_NAMES[kind]}")
    return value


def _changes(changes: PartialOf, tree: Any, path: str) -> dict[str, Any]:
    """Validates new values of some fields of a config dataclass; nested tables may be incomplete as well."""
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{path}={quoted(tree)}: expected a table of fields")
    hints = {key: hint for key, hint in fields_of(changes.of).items() if key not in changes.without}
    found = {}
    for key, value in tree.items():
        check_key(key, hints, path)
        kind, _ = unwrapped(hints[key])
        if dataclasses.is_dataclass(kind):
            found[key] = _changes(PartialOf(typing.cast(type, kind)), value, f"{path}.{key}")
        else:
            found[key] = checked(hints[key], value, f"{path}.{key}")
    return found
