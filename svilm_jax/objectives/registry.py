"""Objective registry: construction from the config, and the weighted sum.

An objective is a frozen dataclass: its fields are its options in the config, including `weight`, and calling it returns
`(loss, metrics)`. To add one, add a file and a line in `OBJECTIVES`.
"""

import functools
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from svilm_jax.config import Config, ConfigError, nearest, resolve_options
from svilm_jax.models.outputs import Outputs
from svilm_jax.objectives.classification import Classification
from svilm_jax.objectives.global_contrast import GlobalContrast
from svilm_jax.objectives.localization import Localization
from svilm_jax.objectives.multilevel_alignment import MultilevelAlignment
from svilm_jax.objectives.spatial_grounding import SpatialGrounding
from svilm_jax.objectives.temporal_grouping import TemporalGrouping


class Objective(Protocol):
    """Interface of all objectives."""

    @property
    def weight(self) -> float: ...

    @property
    def READS(self) -> tuple[str, ...]:
        """The fields of the outputs that it reads, named as in `keep_only`."""

    @property
    def SPANS_BATCH(self) -> bool:
        """Whether a row's loss depends on the other rows of its batch."""

    def __call__(
        self, outputs: Outputs, batch: dict[str, jax.Array], rng: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]: ...


OBJECTIVES: dict[str, type] = {
    "classification": Classification,
    "global_contrast": GlobalContrast,
    "localization": Localization,
    "multilevel_alignment": MultilevelAlignment,
    "spatial_grounding": SpatialGrounding,
    "temporal_grouping": TemporalGrouping,
}

# Inputs of an objective that not every config provides: (key, values or () for any true value, advice).
_CLIPS = ("task", ("video_text",), "clips: config.task=video_text")
_CAPTIONS = ("input.task", ("captions",), "captions: config.input.task=captions")
NEEDS: dict[str, tuple[tuple[str, Any, str], ...]] = {
    "classification": (_CLIPS, ("model.head.kind", True, "a head that scores classes: config.model.head.kind")),
    "global_contrast": (_CLIPS, _CAPTIONS),
    "localization": (("task", ("localization",), "features: config.task=localization"),),
    "multilevel_alignment": (
        _CLIPS,
        ("input.num_sentences", True, "timed sentences: config.input.num_sentences above 0"),
        ("model.clip_pool", ("tokens",), "the embedding of each temporal index: config.model.clip_pool=tokens"),
    ),
    "spatial_grounding": (_CLIPS, _CAPTIONS),
    "temporal_grouping": (_CLIPS, ("splice.enabled", True, "cut and paste: config.splice.enabled=True")),
}


def objective_schema(name: str) -> type:
    """Returns the dataclass whose fields are the options of the objective `name`.

    Raises:
      ConfigError: there is no such objective; the message suggests the nearest name.
    """
    if name not in OBJECTIVES:
        raise ConfigError(
            f"config.objectives.{name}: no such objective{nearest(name, OBJECTIVES)}; known: "
            f"{', '.join(sorted(OBJECTIVES))}"
        )
    return OBJECTIVES[name]


def resolve_objective(name: str, options: Mapping[str, Any]) -> Any:
    """Builds the objective of one entry of `config.objectives`.

    Raises:
      ConfigError: an unknown name or option, or an invalid value of an option.
    """
    path = f"config.objectives.{name}"
    objective: Any = resolve_options(objective_schema(name), options, path)
    if isinstance(objective, Localization) and objective.low > objective.high:
        raise ConfigError(f"{path}.low={objective.low:g}: expected at most {path}.high={objective.high:g}")
    if isinstance(objective, MultilevelAlignment) and not objective.global_weight + objective.segment_weight:
        raise ConfigError(f"{path}: global_weight and segment_weight are both 0, which disables the objective")
    return objective


def build_objectives(table: Mapping[str, Mapping[str, Any]], config: Config) -> dict[str, Objective]:
    """Builds the objectives of `config.objectives`; those of weight 0 are left out.

    Raises:
      ConfigError: no objective, an unknown name or option, an invalid value, or an objective whose inputs the rest of
        the config does not provide.
    """
    built: dict[str, Objective] = {}
    for name, options in table.items():
        objective = resolve_objective(name, options)
        if objective.weight:
            built[name] = objective
    if not built:
        raise ConfigError(f"config.objectives: name at least one of {sorted(OBJECTIVES)} with a weight above 0")
    for name in built:
        for key, needed, advice in NEEDS[name]:
            value = functools.reduce(getattr, key.split("."), config)
            if value not in needed if isinstance(needed, tuple) else not value:
                raise ConfigError(f"config.objectives.{name} needs {advice}; config.{key} is {value!r}")
    return built


def total_loss(
    objectives: Mapping[str, Objective], outputs: Outputs, batch: dict[str, jax.Array], rng: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the weighted sum, and every part of it: `loss/total`, `loss/NAME` (unweighted) and `NAME/METRIC`."""
    total = jnp.zeros((), jnp.float32)
    metrics: dict[str, jax.Array] = {}
    for number, (name, objective) in enumerate(sorted(objectives.items())):
        with jax.named_scope(name):  # profilers show which objective an operation belongs to
            loss, extra = objective(outputs, batch, jax.random.fold_in(rng, number))
        total = total + objective.weight * loss
        metrics[f"loss/{name}"] = loss
        metrics.update({f"{name}/{key}": value for key, value in extra.items()})
    return total, {"loss/total": total, **metrics}
