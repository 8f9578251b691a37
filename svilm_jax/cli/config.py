"""The `svilm config` command: prints the resolved config of a file, with the source of every value."""

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from svilm_jax.cli.arguments import CONFIG
from svilm_jax.cli.arguments import OVERRIDES as OVERRIDES_HELP
from svilm_jax.cli.config_file import read_config
from svilm_jax.config import default_config, resolve
from svilm_jax.config.overrides import parse_overrides

OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `svilm config`."""
    parser.epilog = f"{OVERRIDES_HELP}. example: svilm config pretrain/demo --config.train.steps=100"
    parser.add_argument("file", metavar="FILE[:ARG]", help=CONFIG)
    parser.add_argument("--json", action="store_true", help="print one JSON object without sources")
    parser.add_argument("--changed", action="store_true", help="print only values that differ from the defaults")


def run(args: argparse.Namespace) -> None:
    """Prints every field with its value and where the value comes from: default, config file or command line."""
    config = read_config(args.file, args.overrides)
    if args.json:
        print(json.dumps(dataclasses.asdict(config), indent=1))
        return
    overridden = {".".join(override.key) for override in parse_overrides(args.overrides)}
    of_file = dict(_leaves(dataclasses.asdict(read_config(args.file, []))))
    defaults = dict(_leaves(dataclasses.asdict(resolve(default_config()))))
    for key, value in _leaves(dataclasses.asdict(config)):
        if key in overridden:
            source = "command line"
        elif key not in defaults or of_file[key] != defaults[key]:
            source = args.file.partition(":")[0]
        else:
            source = "default"
        if source != "default" or not args.changed:
            print(f"config.{key} = {value!r}  # {source}")


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
