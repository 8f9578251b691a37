"""Command-line overrides of config keys, `--config.KEY=VALUE`, parsed by the types of the schema."""

import ast
import dataclasses
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from svilm_jax.config import Config, ConfigError, nearest, quoted
from svilm_jax.config.constraints import PartialOf
from svilm_jax.config.resolution import check_key, entry_kind, fields_of, unwrapped

_PREFIX = "--config."
_REPLACED = ("objectives.", "evaluators.", "init.model.", "input.mixture.")  # tables whose keys a config file decides
_REMOVABLE = ("objectives", "evaluators", "input.mixture")  # tables whose entries None removes
_BOOLS = {"true": True, "t": True, "yes": True, "1": True, "false": False, "f": False, "no": False, "0": False}
# (name of an entry, the current entry or None) -> the dataclass of its options; raises ConfigError.
EntrySchema = Callable[[str, Mapping[str, Any] | None], type]


@dataclasses.dataclass(frozen=True)
class Override:
    """One override.

    Attributes:
      key: path of the field below `config`.
      value: the text after the equals sign.
    """

    key: tuple[str, ...]
    value: str

    @property
    def name(self) -> str:
        """The key as it is written in messages: `config.train.steps`."""
        return ".".join(("config", *self.key))


def parse_overrides(arguments: Sequence[str]) -> list[Override]:
    """Parses `--config.KEY=VALUE` arguments without reference to the schema.

    Args:
      arguments: of the command line.

    Returns:
      The overrides in their order, except that kinds of evaluators come first.

    Raises:
      ConfigError: an argument of another form.
    """
    overrides = []
    for argument in arguments:
        key, separator, value = argument.partition("=")
        if not key.startswith(_PREFIX) or not separator:
            raise ConfigError(f"unknown argument {quoted(argument)}: expected --config.KEY=VALUE")
        overrides.append(Override(tuple(key.removeprefix(_PREFIX).split(".")), value))
    # The kind of an evaluator determines its options, so it must be known before they are parsed.
    return sorted(overrides, key=lambda o: not (len(o.key) == 3 and o.key[0] == "evaluators" and o.key[2] == "kind"))


def apply(tree: dict[str, Any], overrides: Sequence[Override], entries: Mapping[str, EntrySchema]) -> dict[str, Any]:
    """Applies overrides to a nested table of config values.

    Args:
      tree: nested like `Config`; not modified.
      overrides: applied in order. An option of an entry that an open table lacks adds the entry.
      entries: name of an open table -> schema of its entries.

    Returns:
      A table with the new values.

    Raises:
      ConfigError: an unknown key (the message suggests the nearest one), or text that does not parse as its type.
    """
    tree = _copied(tree)
    for override in overrides:
        _apply(tree, override, entries)
    return tree


def assign(tree: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Assigns Python values to dotted keys of a nested table; `resolve` checks keys and values afterwards.

    Args:
      tree: nested like `Config`; not modified.
      values: dotted key -> value, assigned in order. Below `objectives`, `evaluators`, `input.mixture` and
        `init.model`, a dict replaces a whole table; None removes an entry of the first three.

    Returns:
      A table with the new values.

    Raises:
      ConfigError: a key below a value, a dict for another table, or an entry to remove that does not exist.
    """
    new = _copied(tree)
    for key, value in values.items():
        *outer, last = key.split(".")
        table, path = new, "config"
        for name in outer:
            path = f"{path}.{name}"
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise ConfigError(f"config.{key}: {path} is a value and has no keys")
        if isinstance(value, Mapping) and not f"{key}.".startswith(_REPLACED):
            raise ConfigError(f"config.{key} is a table: assign its keys one by one, such as {key}.KEY")
        if value is None and ".".join(outer) in _REMOVABLE:
            check_key(last, table, path)
            del table[last]
        else:
            table[last] = _copied(value) if isinstance(value, Mapping) else value
    return new


def _apply(tree: dict[str, Any], override: Override, entries: Mapping[str, EntrySchema]) -> None:
    kind: type = Config
    table, path = tree, "config"
    *outer, last = override.key
    for place, key in enumerate(outer):
        hint = _hint(kind, key, path)
        below, constraints = unwrapped(hint)
        changes = next((c for c in constraints if isinstance(c, PartialOf)), None)
        path = f"{path}.{key}"
        if changes is not None and override.key[place + 1] in changes.without:
            raise ConfigError(
                f"{override.name}: cannot be changed here; set config.model.{'.'.join(override.key[place + 1 :])}"
            )
        table = table.setdefault(key, {})
        if key in entries and kind is Config:
            _apply_to_entry(table, key, override, entries[key])
            return
        if (entry := entry_kind(below)) is not None:
            _apply_to_table(table, override.key[place + 1 :], path, override, entry)
            return
        if changes is None and not dataclasses.is_dataclass(below):
            raise ConfigError(f"{override.name}: {path} is a value and has no keys")
        kind = changes.of if changes is not None else typing.cast(type, below)
    table[last] = _value_of(_hint(kind, last, path), override)


def _apply_to_table(table: dict[str, Any], key: Sequence[str], path: str, override: Override, kind: type) -> None:
    """Sets one key of an entry of a table whose entries have one schema."""
    if len(key) != 2 or not key[0]:
        raise ConfigError(f"{override.name}: expected {path}.NAME.KEY")
    name, last = key
    table.setdefault(name, {})[last] = _value_of(_hint(kind, last, f"{path}.{name}"), override)


def _apply_to_entry(table: dict[str, Any], name: str, override: Override, schema: EntrySchema) -> None:
    """Sets one option of an entry of an open table."""
    if len(override.key) != 3 or not override.key[1]:
        raise ConfigError(f"{override.name}: expected config.{name}.NAME.OPTION")
    _, entry, option = override.key
    if name == "evaluators" and option == "kind":
        table.setdefault(entry, {})["kind"] = override.value
        return
    options = schema(entry, table.get(entry))
    known = [*fields_of(options), *(("kind",) if name == "evaluators" else ())]
    check_key(option, known, f"config.{name}.{entry}")
    table.setdefault(entry, {})[option] = _value_of(fields_of(options)[option], override)


def _hint(kind: type, key: str, path: str) -> Any:
    check_key(key, fields_of(kind), path)
    return fields_of(kind)[key]


def _value_of(hint: Any, override: Override) -> Any:
    kind, constraints = unwrapped(hint)
    is_table = dataclasses.is_dataclass(kind) or typing.get_origin(kind) not in (None, tuple, typing.Literal)
    if is_table or any(isinstance(constraint, PartialOf) for constraint in constraints):
        example = f"{_PREFIX}{'.'.join(override.key)}.KEY=VALUE"
        raise ConfigError(f"{override.name} is a table: set one of its keys, {example}")
    return parse_value(kind, override.value, override.name)


def parse_value(hint: Any, text: str, name: str) -> Any:
    """Parses text as a value of a type; ranges and choices are checked later, by `resolve`.

    Args:
      hint: bool, int, float, str, a `Literal` of text, or a tuple of these, with or without constraints.
      text: the text.
      name: name of the key in messages.

    Raises:
      ConfigError: the text does not parse.
    """
    kind, _ = unwrapped(hint)
    if typing.get_origin(kind) is tuple:
        return _parse_tuple(typing.get_args(kind), text, name)
    if typing.get_origin(kind) is typing.Literal or kind is str:
        return text
    if kind is bool:
        if text.strip().lower() not in _BOOLS:
            raise ConfigError(
                f"{name}={quoted(text)}: expected true or false{nearest(text.lower(), ('true', 'false'))}"
            )
        return _BOOLS[text.strip().lower()]
    try:
        return kind(text)
    except ValueError as error:
        expected = "a whole number" if kind is int else "a number"
        raise ConfigError(f"{name}={quoted(text)}: expected {expected}") from error


def _parse_tuple(members: tuple[Any, ...], text: str, name: str) -> tuple[Any, ...]:
    """Parses `(2, 16, 16)`, `2,16,16`, `('a', 'b')` or `a,b`; a single value becomes a tuple of one."""
    try:
        with warnings.catch_warnings(action="ignore"):  # text is not meant as Python
            value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        words = [word.strip() for word in text.strip().strip("()[]").split(",") if word.strip()]
        hints = (members[0],) * len(words) if members[-1] is Ellipsis else members
        if len(hints) != len(words):
            raise ConfigError(f"{name}={quoted(text)}: expected {len(hints)} values, such as 1,2") from None
        return tuple(parse_value(hint, word, name) for hint, word in zip(hints, words, strict=True))
    is_text = unwrapped(members[0])[0] is str
    if is_text and not isinstance(value, (tuple, list, str)):
        return (text.strip(),)  # text that happens to look like a number
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def lookup(tree: Mapping[str, Any], override: Override) -> Any:
    """Returns the value of an override's key in a nested table, or None if the key does not exist."""
    value: Any = tree
    for key in override.key:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _copied(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in tree.items()}
