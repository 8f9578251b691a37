"""Dependencies of config fields on others, so that no override is silently ignored."""

import functools
from collections.abc import Iterable
from typing import Any

from svilm_jax.config.constraints import LARGEST
from svilm_jax.config.errors import ConfigError, quoted
from svilm_jax.config.schema import HEAD_TASKS, Config

# field: (the field that it depends on, the values of that field with which it takes effect; (): any that is not zero,
# empty or false).
_MODES: dict[str, tuple[str, tuple[Any, ...] | range]] = {
    "optimizer.momentum": ("optimizer.name", ("sgd", "muon")),
    "optimizer.beta1": ("optimizer.name", ("adamw", "adam", "muon")),
    "optimizer.beta2": ("optimizer.name", ("adamw", "adam", "muon")),
    "optimizer.eps": ("optimizer.name", ("adamw", "adam", "muon")),
    "optimizer.final_lr_fraction": ("optimizer.schedule", ("cosine",)),
    "optimizer.drops": ("optimizer.schedule", ("steps",)),
    "optimizer.drop_factor": ("optimizer.schedule", ("steps",)),
    "optimizer.muon_rms": ("optimizer.name", ("muon",)),
    "optimizer.muon_start_fraction": ("optimizer.name", ("muon",)),
    "splice.prob": ("splice.enabled", (True,)),
    "splice.min_whole_fraction": ("splice.enabled", (True,)),
    "splice.partner": ("splice.enabled", (True,)),
    "splice.block": ("splice.enabled", (True,)),
    "input.split": ("input.mixture", ({},)),
    "input.crop_scale": ("input.random_crop", (True,)),
    "input.crop_ratio": ("input.random_crop", (True,)),
    "input.num_phrases": ("task", ("video_text",)),
    "input.text": ("task", ("video_text",)),
    "input.sentences": ("input.num_sentences", ()),
    "train.epochs": ("train.steps", (0,)),
    "train.evaluators": ("train.eval_every", ()),
    "train.best.mode": ("train.best.metric", ()),
    "train.best.patience": ("train.best.metric", ()),
    "train.accumulation": ("train.microbatches", range(2, LARGEST + 1)),
    "init.model": ("init.checkpoint", ()),
    "init.learning_rate_scale": ("init.checkpoint", ()),
    "mesh.max_replicated_fraction": ("mesh.preset", ("fsdp", "fsdp_tp", "fsdp_seq")),
    "model.head.classes": ("task", (*HEAD_TASKS, "localization")),
    "model.head.max_classes": ("task", HEAD_TASKS),
    "model.head.num_layers": ("task", ("question_answering",)),
    "model.localization": ("task", ("localization",)),
}


def check_modes(names: Iterable[str], config: Config) -> None:
    """Rejects overrides of fields that have no effect in the given config.

    Args:
      names: the keys that were set, such as `config.train.epochs`.
      config: the config with the overrides applied.

    Raises:
      ConfigError: a field without effect; the message names it and the field that it depends on.
    """
    for name in names:
        for key, (condition, values) in _MODES.items():
            if not f"{name}.".startswith(f"config.{key}."):
                continue
            value = functools.reduce(getattr, condition.split("."), config)
            if value in values if values else value:
                continue
            wanted = " or ".join(repr(v) for v in values) if isinstance(values, tuple) else f"at least {values[0]}"
            wanted = wanted or "a value"
            raise ConfigError(f"{name} is not used with config.{condition}={quoted(value)}: it needs {wanted} there")
