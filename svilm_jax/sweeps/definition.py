"""Sweeps that a config file defines: `sweep()`, `sweep_NAME()` and `get_hyper(hyper)`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from svilm_jax.config import ConfigError, nearest, quoted
from svilm_jax.sweeps import hyper
from svilm_jax.sweeps.hyper import Changes, Sweep

_PREFIX = "sweep_"
ARGUMENT = "arg"  # keys `arg.NAME` change the argument NAME of `get_config`, the part after the colon of --config


def sweep_names(module: ModuleType) -> list[str]:
    """Returns the names of the sweeps of a config file, without that of `sweep()` and `get_hyper(hyper)`."""
    return [key.removeprefix(_PREFIX) for key in vars(module) if key.startswith(_PREFIX)]


def expand(module: ModuleType, names: Sequence[str] = ()) -> Sweep:
    """Returns the trials of the product of named sweeps; the last one varies fastest.

    Args:
      module: the config file.
      names: of functions `sweep_NAME()`; (): `sweep()`, or else `get_hyper(hyper)`.

    Returns:
      The changes of each trial, keys without a leading `config.`.

    Raises:
      ConfigError: no such sweep, two sweeps that change the same key, or a function that yields anything but dicts.
    """
    if not names:
        return _unnamed(module)
    if twice := sorted({name for name in names if list(names).count(name) > 1}):
        raise ConfigError(f"--sweep: {', '.join(twice)} is named twice")
    return hyper.product([_called(_named(module, name), f"{_PREFIX}{name}()") for name in names])


def _unnamed(module: ModuleType) -> Sweep:
    plain, grid = getattr(module, "sweep", None), getattr(module, "get_hyper", None)
    if callable(plain) and callable(grid):
        raise ConfigError("defines both sweep() and get_hyper(hyper): rename sweep() to sweep_NAME(), or remove one")
    if callable(plain):
        return _called(plain, "sweep()")
    if callable(grid):
        return _called(lambda: grid(hyper), "get_hyper(hyper)")
    known = ", ".join(sweep_names(module))
    hint = f"name one of its sweeps with --sweep: {known}" if known else "add `def sweep()`, which yields dicts"
    raise ConfigError(f"defines no function sweep() or get_hyper(hyper); {hint}")


def _named(module: ModuleType, name: str) -> Callable[[], Any]:
    function = getattr(module, f"{_PREFIX}{name}", None)
    if not callable(function):
        known = sweep_names(module)
        raise ConfigError(
            f"defines no function {_PREFIX}{name}(){nearest(name, known)}; known sweeps: {', '.join(known) or 'none'}"
        )
    return function


def _called(function: Callable[[], Any], label: str) -> Sweep:
    found = function()
    if isinstance(found, (str, Mapping)) or not isinstance(found, Iterable):
        raise ConfigError(f"{label} returned {quoted(found)}, expected dicts of dotted config keys")
    trials = [plain_changes(trial, label) for trial in found]
    if not trials:
        raise ConfigError(f"{label} yields no trial")
    return trials


def plain_changes(trial: Any, label: str) -> Changes:
    """Returns the changes of a trial, keys without a leading `config.`.

    Args:
      trial: as a function of a config file yields it.
      label: name of the function in messages.

    Raises:
      ConfigError: not a dict of dotted keys.
    """
    if not isinstance(trial, Mapping):
        raise ConfigError(f"{label} yields {quoted(trial)}, expected a dict of dotted config keys")
    changes = {}
    for key, value in trial.items():
        name = key.removeprefix("config.") if isinstance(key, str) else key
        if not isinstance(name, str) or not all(name.split(".")):
            raise ConfigError(f"{label} yields the key {quoted(key)}, expected a dotted config key such as train.seed")
        if name in changes:
            raise ConfigError(f"{label} yields {name} twice, with and without `config.`")
        changes[name] = value
    return changes


def split_argument(file: str, changes: Mapping[str, Any]) -> tuple[str, Changes]:
    """Moves changes of the argument of `get_config` into the value of `--config`.

    Args:
      file: value of `--config`, FILE or FILE:ARG.
      changes: of one trial. `arg.NAME` changes one argument, `arg` replaces the whole text after the colon.

    Returns:
      The value of `--config` for the trial, and the changes of config keys.

    Raises:
      ConfigError: an argument is also given after the colon, or its value cannot be written there.
    """
    name, _, given = file.partition(":")
    items = [item for item in given.split(",") if item]
    fields = {}
    for key, value in changes.items():
        head, _, argument = key.partition(".")
        if head != ARGUMENT:
            fields[key] = value
        elif not argument:
            if given:
                raise ConfigError(f"{key} is swept, and --config={file} gives an argument as well: remove one of them")
            items.append(str(value))
        else:
            if any(item.partition("=")[0] == argument for item in items):
                raise ConfigError(f"{key} is swept, and --config={file} gives it as well: remove one of them")
            items.append(f"{argument}={_text(key, value)}")
    return (f"{name}:{','.join(items)}" if items else name), fields


def _text(key: str, value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)
    if not isinstance(value, (bool, int, float, str)) or "," in text:
        raise ConfigError(f"{key}={quoted(value)}: expected true, false, a number, or text without a comma")
    return text
