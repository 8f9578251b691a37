"""Tests that every public option can be set on the command line, whether or not the config file names its entry."""

import dataclasses
import typing

import pytest

from svilm_jax.cli.config_file import _check_open_tables, _open_tables
from svilm_jax.config import ModelConfig, resolve
from svilm_jax.config.constraints import Local, PartialOf, Range
from svilm_jax.config.overrides import apply, lookup, parse_overrides
from svilm_jax.config.resolution import fields_of, unwrapped
from svilm_jax.config.schema import Config, InitConfig
from tests.config.every_field import every_kind, fields


def options():
    """Yields (key, type hint) of all public options: of the schema, of `init.model` and of each known table entry."""
    for name, kind in every_kind():
        for path, hint in fields(kind):
            yield ".".join((name, *path)), hint
    (changes,) = [c for c in unwrapped(fields_of(InitConfig)["model"])[1] if isinstance(c, PartialOf)]
    for path, hint in fields(ModelConfig, ("config", "init", "model")):
        if path[3] not in changes.without:
            yield ".".join(path), hint


OPTIONS = dict(options())
EXAMPLES = {"config.train.profile": (4, 8)}  # of a field that is checked as a whole


def example(hint, default):
    """Returns a valid value of a field other than its default."""
    kind, constraints = unwrapped(hint)
    if typing.get_origin(kind) is typing.Literal:
        return next(choice for choice in typing.get_args(kind) if choice != default)
    if typing.get_origin(kind) is tuple:
        members = typing.get_args(kind)
        members = members[:1] if members[-1] is Ellipsis else members
        return tuple(example(member, default[0] if default else None) for member in members)
    if kind is bool:
        return not default
    if kind is str:
        return "runs/example" if any(isinstance(c, Local) for c in constraints) else "an example"
    (numbers,) = (c for c in constraints if isinstance(c, Range))
    # Large ones first: the position table must cover the text, and the cap of the logit scale its initial value.
    candidates = (64, 4, 8) if kind is int else (20.0, 0.5, 0.25)
    return next(number for number in candidates if not numbers.problem(number) and number != default)


def written(value):
    """Returns a value as a user types it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def default_of(key):
    """Returns the default of an option; None below `init.model`, which has none."""
    for name, kind in every_kind():
        below = key.removeprefix(f"{name}.")
        if below != key and (name != "config" or not below.startswith(("objectives.", "evaluators.", "init.model."))):
            value = kind()
            for part in below.split("."):
                value = getattr(value, part)
            return value
    return None


def test_the_options_include_open_tables_and_changes_of_a_checkpoint():
    assert {
        "config.task",
        "config.train.steps",
        "config.init.model.video.num_frames",
        "config.objectives.multilevel_alignment.segment_weight",
        "config.evaluators.linear_probe.penalty",
    } <= OPTIONS.keys()
    assert "config.init.model.head.classes" not in OPTIONS
    assert len(OPTIONS) > 200


@pytest.mark.parametrize("top", sorted({".".join(key.split(".")[:2]) for key in OPTIONS}))
def test_every_option_can_be_set_from_an_empty_config(top):
    """No file names an objective or an evaluator here: an option alone adds its entry."""
    empty, tables = dataclasses.asdict(Config()), _open_tables()
    for key, hint in OPTIONS.items():
        if f"{key}.".startswith(f"{top}."):
            default = default_of(key)
            value = EXAMPLES.get(key) or example(hint, default)
            overrides = parse_overrides([f"--{key}={written(value)}"])
            config = resolve(apply(empty, overrides, tables))
            _check_open_tables(config)
            assert lookup(dataclasses.asdict(config), overrides[0]) == value, key
            assert value != default, key
