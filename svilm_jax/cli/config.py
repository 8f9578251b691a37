"""The `svilm config` command: prints the resolved config of a file, with the grade and the source of every value."""

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from svilm_jax.cli.arguments import CONFIG
from svilm_jax.cli.arguments import OVERRIDES as OVERRIDES_HELP
from svilm_jax.cli.config_file import read_config
from svilm_jax.config import Config
from svilm_jax.config.constraints import PartialOf
from svilm_jax.config.grades import Grade
from svilm_jax.config.overrides import parse_overrides
from svilm_jax.config.resolution import entry_kind, fields_of, grade_of, unwrapped
from svilm_jax.evaluation.registry import EVALUATORS, evaluator_kind
from svilm_jax.objectives.registry import objective_schema

OVERRIDES = True
DEFAULT, COMMAND_LINE = "default", "command line"


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `svilm config`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "grades of the defaults: [P] stated by the paper, [A] attributed to the paper but not verified, [C] chosen by "
        f"this project\n\n{OVERRIDES_HELP}\n\nexample: svilm config pretrain/demo --config.train.steps=100 --changed"
    )
    parser.add_argument("file", metavar="FILE[:ARG]", help=CONFIG)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object: key -> value, default, grade, source"
    )
    parser.add_argument("--changed", action="store_true", help="print only values that differ from the defaults")


def run(args: argparse.Namespace) -> None:
    """Prints every field, one per line, or as one JSON object.

    Raises:
      ConfigError: see `read_config`.
    """
    config = read_config(args.file, args.overrides)
    overridden = {override.name for override in parse_overrides(args.overrides)}
    file = args.file.partition(":")[0]
    found = {}
    for entry in entries(config):
        changed = file if entry.grade is None or entry.value != entry.default else DEFAULT
        source = COMMAND_LINE if entry.key in overridden else changed
        if source != DEFAULT or not args.changed:
            found[entry.key] = (entry, source)
    if args.json:
        print(json.dumps({key: _record(entry, source) for key, (entry, source) in found.items()}, indent=1))
        return
    for entry, source in found.values():
        print(f"{entry.key} = {entry.value!r}  # {_remark(entry, source)}")


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


def _record(entry: Entry, source: str) -> dict[str, Any]:
    grade = {} if entry.grade is None else {"default": entry.default, "grade": entry.grade.value}
    return {"value": entry.value, **grade, "source": source}


def _remark(entry: Entry, source: str) -> str:
    if entry.grade is None:
        return source
    default = (
        f"default [{entry.grade.value}]" if source == DEFAULT else f"default {entry.default!r} [{entry.grade.value}]"
    )
    return default if source == DEFAULT else f"{source}; {default}"
