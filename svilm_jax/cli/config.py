"""The `svilm config` command: prints the resolved config of a file, with the grade and the source of every value."""

import argparse
import json
from typing import Any

from svilm_jax.cli.arguments import CONFIG
from svilm_jax.cli.arguments import OVERRIDES as OVERRIDES_HELP
from svilm_jax.cli.config_file import read_config
from svilm_jax.config.overrides import parse_overrides
from svilm_jax.report.config_entries import Entry, entries

OVERRIDES = True
DEFAULT, COMMAND_LINE = "default", "command line"


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
        changed = file if entry.changed else DEFAULT
        source = COMMAND_LINE if entry.key in overridden else changed
        if source != DEFAULT or not args.changed:
            found[entry.key] = (entry, source)
    if args.json:
        print(json.dumps({key: _record(entry, source) for key, (entry, source) in found.items()}, indent=1))
        return
    for entry, source in found.values():
        print(f"{entry.key} = {entry.value!r}  # {_remark(entry, source)}")


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
