"""Checks for config fields that take effect only in a certain mode of another field, so that no override is ignored."""

import functools
from collections.abc import Iterable
from typing import Any

from svilm_jax.config.constraints import LARGEST
from svilm_jax.config.errors import ConfigError, shown
from svilm_jax.config.schema import Config

# Key: (the key that decides, the values with which it counts, or () for any that is not zero, empty or false).
_MODES: dict[str, tuple[str, tuple[Any, ...] | range]] = {
    "optimizer.momentum": ("optimizer.name", ("sgd", "muon")),
    "optimizer.beta1": ("optimizer.name", ("adamw", "muon")),
    "optimizer.beta2": ("optimizer.name", ("adamw", "muon")),
    "optimizer.eps": ("optimizer.name", ("adamw", "muon")),
    "optimizer.muon_rms": ("optimizer.name", ("muon",)),
    "optimizer.muon_start_fraction": ("optimizer.name", ("muon",)),
    "splice.prob": ("splice.enabled", (True,)),
    "splice.partner": ("splice.enabled", (True,)),
    "splice.block": ("splice.enabled", (True,)),
    "input.crop_scale": ("input.random_crop", (True,)),
    "input.crop_ratio": ("input.random_crop", (True,)),
    "input.num_phrases": ("input.task", ("captions",)),
    "input.text": ("input.task", ("captions",)),
    "train.epochs": ("train.steps", (0,)),
    "train.accumulation": ("train.microbatches", range(2, LARGEST + 1)),
    "init.model": ("init.checkpoint", ()),
    "init.learning_rate_scale": ("init.checkpoint", ()),
    "mesh.max_replicated_fraction": ("mesh.preset", ("fsdp", "fsdp_tp", "fsdp_seq")),
    "model.head.max_classes": ("model.head.kind", ()),
    "model.head.num_layers": ("model.head.kind", ("question_answering",)),
    "model.localization": ("task", ("localization",)),
}


def check_modes(names: Iterable[str], config: Config) -> None:
    """Refuses to set fields that do not count as the rest of the config is.

    Args:
      names: of the keys that were set, such as `config.train.epochs`.

    Raises:
      ConfigError: naming a key and the one that decides.
    """
    for name in names:
        for key, (decides, values) in _MODES.items():
            if not f"{name}.".startswith(f"config.{key}."):
                continue
            value = functools.reduce(getattr, decides.split("."), config)
            if value in values if values else value:
                continue
            wanted = " or ".join(repr(v) for v in values) if isinstance(values, tuple) else f"at least {values[0]}"
            wanted = wanted or "a value"
            raise ConfigError(f"{name} is not used with config.{decides}={shown(value)}: it needs {wanted} there")
