"""Config files (`--config=FILE[:ARG]`) and command-line overrides of their values and of those of a checkpoint."""

import contextlib
import dataclasses
import difflib
import importlib.util
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import ml_collections

from svilm_jax.config import Config, ConfigError, quoted, resolve
from svilm_jax.config.local_paths import require_local
from svilm_jax.config.modes import check_modes
from svilm_jax.config.overrides import EntrySchema, apply, assign, lookup, parse_overrides
from svilm_jax.filesystem.json_reader import read_document

# Parts of the message of ml_collections about a key that a locked table lacks, with one or two levels of quotes.
_MISSING_KEY = re.compile(r'Key \\?"(.+?)\\?" does not exist')
_SUGGESTION = re.compile(r'Did you mean \\?"(\w+)')

# Key of a JSON config: the config file that registers objectives or evaluators of its own, which is executed first.
REGISTERED_BY = "registered_by"
CONFIG_MODULE = "svilm_config"  # name under which config files are executed

# Keys that a command reads, each including all keys below it; `svilm train` reads all.
USED_BY_EVAL = ("evaluators", "input.dataset", "input.split", "input.prompts", "train.seed")
USED_BY_COMPILE = (
    *("task", "model", "init", "tokenizer", "splice", "optimizer", "mesh", "objectives", "input.dataset"),
    *("input.text", "input.num_sentences", "input.num_phrases", "train.batch_size"),
    *("train.microbatches", "train.accumulation"),
)
USED_BY_IMPORT = ("task", "model", "tokenizer", "input.dataset", "input.prompts", "train.seed")


def read_config(file: str, overrides: Sequence[str], values: Mapping[str, Any] | None = None) -> Config:
    """Reads a config file and applies overrides.

    Args:
      file: path of a Python file, or the name of a packaged config (see `find_config_file`), with an optional argument
        for its `get_config`: `FILE` or `FILE:ARG`. Or path of a JSON file with the values of a config, such as the
        `config.json` of a workdir, and optionally `registered_by`.
      overrides: arguments of the form `--config.KEY=VALUE`.
      values: dotted key -> Python value, assigned before the overrides are applied.

    Returns:
      The validated config.

    Raises:
      ConfigError: no such file, a file that fails, an unknown key (the message suggests the nearest one), or an
        invalid value.
    """
    require_local(file, "config")
    name, colon, argument = file.partition(":")
    path = find_config_file(name)
    parse_overrides(overrides)  # reports malformed arguments before the file runs
    tree = _read_tree(path, file) if path.suffix == ".json" else _run(path, argument if colon else None, file)
    return _overridden(tree, overrides, values or {})


def read_config_module(file: str) -> ModuleType:
    """Executes a config file, given as to `read_config`, and returns its module; raises as `read_config`."""
    require_local(file, "config")
    path = find_config_file(file.partition(":")[0])
    with _explained(path, file):
        return _module(path)


def is_self_contained(config: Config) -> bool:
    """Returns whether all objectives and evaluators of a config are those of this package."""
    return not foreign_modules(config)


def foreign_modules(config: Config) -> set[str]:
    """Returns the modules, other than those of this package, that define objectives and evaluators of a config.

    That of a config file is `CONFIG_MODULE`, others are plugins.
    """
    from svilm_jax.evaluation.registry import EVALUATORS, evaluator_kind
    from svilm_jax.objectives.registry import objective_schema

    kinds = [objective_schema(name) for name in config.objectives]
    kinds += [EVALUATORS[evaluator_kind(name, entry)][0] for name, entry in config.evaluators.items()]
    return {kind.__module__ for kind in kinds if not kind.__module__.startswith("svilm_jax.")}


def with_defaults(config: Config) -> dict[str, Any]:
    """Returns the values of a config as a nested dict, with the defaults of its objectives and evaluators filled in."""
    from svilm_jax.evaluation.registry import resolve_evaluator
    from svilm_jax.objectives.registry import resolve_objective

    tree = dataclasses.asdict(config)
    tree["objectives"] = {
        name: dataclasses.asdict(resolve_objective(name, entry))  # type: ignore[call-overload]
        for name, entry in config.objectives.items()
    }
    tree["evaluators"] = {}
    for name, entry in config.evaluators.items():
        kind, options = resolve_evaluator(name, entry)
        tree["evaluators"][name] = {"kind": kind, **dataclasses.asdict(options)}
    return tree


def find_config_file(name: str) -> Path:
    """Resolves `--config=NAME` to a Python file.

    Args:
      name: path of a file; or, where no such file exists, the name of a packaged config with or without `.py`, such as
        `pretrain/demo`. A file always takes precedence over a packaged config.

    Raises:
      ConfigError: neither of them exists; lists the packaged configs and the closest match.
    """
    if Path(name).is_file():
        return Path(name)
    packaged = packaged_configs()
    plain = name.removesuffix(".py")
    if plain in packaged:
        return packaged[plain]
    if not packaged:
        raise ConfigError(f"--config={name}: no such file")
    # Users often give the path in a checkout, `configs/pretrain/demo.py`, or leave out the folder.
    stems = {key.rpartition("/")[2]: key for key in packaged}
    wanted = plain.removeprefix("./").removeprefix("configs/")
    close = difflib.get_close_matches(wanted, packaged, 1) or [
        stems[stem] for stem in difflib.get_close_matches(wanted.rpartition("/")[2], stems, 1)
    ]
    meant = f"; did you mean {close[0]}?" if close else ""
    raise ConfigError(f"--config={name}: no such file or packaged config{meant} (packaged: {', '.join(packaged)})")


def packaged_configs() -> dict[str, Path]:
    """Returns the installed configs by name, sorted: `{"pretrain/demo": Path(...), ...}`.

    They are the files of `configs/` in a checkout, installed as the package `svilm_configs`; empty if it is missing.
    """
    spec = importlib.util.find_spec("svilm_configs")
    folders = () if spec is None else spec.submodule_search_locations or ()
    return {
        file.relative_to(folder).with_suffix("").as_posix(): file
        for folder in folders
        for file in sorted(Path(folder).glob("*/*.py"))
    }


def apply_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """Applies `--config.KEY=VALUE` overrides to the config of a checkpoint; see `read_config`."""
    return _overridden(dataclasses.asdict(config), overrides) if overrides else config


def check_overrides_used(
    overrides: Sequence[str], given: Config, used: Sequence[str], command: str, kept: Config | None = None
) -> None:
    """Rejects overrides of keys that a command does not read.

    Args:
      overrides: arguments of the form `--config.KEY=VALUE`.
      given: the config with the overrides applied.
      used: keys that the command reads, each including all keys below it.
      command: name of the command.
      kept: config of the checkpoint that the command uses; overrides that repeat one of its values are accepted.

    Raises:
      ConfigError: overrides without effect; the message names their keys.
    """
    before, now = None if kept is None else dataclasses.asdict(kept), dataclasses.asdict(given)
    unused = [
        override.name
        for override in parse_overrides(overrides)
        if not any(f"{override.name}.".startswith(f"config.{key}.") for key in used)
        and (before is None or lookup(before, override) != lookup(now, override))
    ]
    if unused:
        decided = "; all others are determined by the checkpoint" if kept is not None else ""
        known = ", ".join(f"config.{key}" for key in used)
        raise ConfigError(f"{', '.join(unused)}: not used by `svilm {command}`, which reads {known}{decided}")


def check_overrides_hold(overrides: Sequence[str], given: Config, used: Config, why: str) -> None:
    """Rejects overrides that a later stage of the resolution has replaced.

    Args:
      overrides: arguments of the form `--config.KEY=VALUE`.
      given: the config with the overrides applied.
      used: the config after all stages.
      why: what determines the values, and what to do instead; ends the message.

    Raises:
      ConfigError: overrides without effect; the message names their keys and both values.
    """
    before, after = dataclasses.asdict(given), dataclasses.asdict(used)
    lost = {
        override.name: f"{override.name}={quoted(lookup(before, override))}, it is {quoted(lookup(after, override))}"
        for override in parse_overrides(overrides)
        if lookup(before, override) != lookup(after, override)
    }
    if lost:
        raise ConfigError(f"{'; '.join(lost.values())}: {why}")


def _overridden(tree: dict[str, Any], overrides: Sequence[str], values: Mapping[str, Any] | None = None) -> Config:
    parsed, values = parse_overrides(overrides), values or {}
    config = resolve(apply(assign(tree, values), parsed, _open_tables()))
    _check_open_tables(config)
    check_modes([*(f"config.{key}" for key in values), *(override.name for override in parsed)], config)
    return config


def _open_tables() -> Mapping[str, EntrySchema]:
    # Imported here: both import JAX, which must not happen before a command has configured it.
    from svilm_jax.evaluation.registry import EVALUATORS, evaluator_kind
    from svilm_jax.objectives.registry import objective_schema

    return {
        "objectives": lambda name, entry: objective_schema(name),
        "evaluators": lambda name, entry: EVALUATORS[evaluator_kind(name, entry or {})][0],
    }


def _check_open_tables(config: Config) -> None:
    from svilm_jax.evaluation.registry import resolve_evaluator
    from svilm_jax.objectives.registry import resolve_objective

    for name, entry in config.objectives.items():
        resolve_objective(name, entry)
    for name, entry in config.evaluators.items():
        resolve_evaluator(name, entry)


def _run(path: Path, argument: str | None, given: str) -> dict[str, Any]:
    """Runs `get_config` of a file and returns its config as a nested dict.

    Args:
      path: the file.
      argument: argument of `get_config`, or None.
      given: the value of `--config`, for messages.

    Raises:
      ConfigError: the file fails, or does not return a `ConfigDict`.
    """
    with _explained(path, given):
        make = getattr(_module(path), "get_config", None)
        if not callable(make):
            raise ConfigError("defines no function get_config()")
        config = make() if argument is None else make(argument)
        if not isinstance(config, ml_collections.ConfigDict):
            raise ConfigError(f"get_config() returned {type(config).__name__}, expected a ConfigDict")
        tree: dict[str, Any] = config.to_dict()
        return tree


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(CONFIG_MODULE, path)
    if spec is None or spec.loader is None:
        raise ConfigError("expected a Python file, NAME.py, or a JSON file, NAME.json")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def explained_errors(file: str) -> Iterator[None]:
    """Turns every exception of the code of a config file, given as to `read_config`, into a ConfigError of one line."""
    with _explained(find_config_file(file.partition(":")[0]), file):
        yield


@contextlib.contextmanager
def _explained(path: Path, given: str) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"--config={given}: {error}") from error
    except Exception as error:  # user code may raise anything
        raise ConfigError(f"--config={given}: {_reason(error, path)}") from error


def _read_tree(path: Path, given: str) -> dict[str, Any]:
    if ":" in given:
        raise ConfigError(f"--config={given}: a JSON file takes no argument after a colon")
    tree = read_document(path)
    if not isinstance(tree, dict):
        raise ConfigError(f"--config={given}: expected a JSON object with the tables of a config, such as config.json")
    if registering := tree.pop(REGISTERED_BY, None):
        with _explained(Path(registering), registering):
            _module(Path(registering))
    return tree


def _reason(error: Exception, path: Path) -> str:
    """Returns the line of the file at which an error occurred, and the error, in one line of text."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    text = str(error.args[0] if error.args else error)
    where = f"line {line}: " if line else ""
    if missing := _MISSING_KEY.search(text):  # the message also contains the whole table
        meant = _SUGGESTION.search(text)
        return f"{where}no such key: {missing.group(1)!r}{f'; did you mean {meant.group(1)!r}?' if meant else ''}"
    return f"{where}{type(error).__name__}: {' '.join(text.split())[:300] or 'no message'}"
