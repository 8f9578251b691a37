"""Objective registry: construction from the config, and the weighted sum.

An objective is a frozen dataclass: its fields are its options in the config, including `weight`, and calling it returns
`(loss, metrics)`. To add one inside this package, add a file and a line in `OBJECTIVES`; from outside, call
`register_objective`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from svilm_jax.config import Config, ConfigError, nearest, resolve_options
from svilm_jax.config.registration import check_free, load_plugins
from svilm_jax.models.outputs import LocalizationOutputs, Outputs
from svilm_jax.objectives.classification import Classification
from svilm_jax.objectives.global_contrast import GlobalContrast
from svilm_jax.objectives.localization import Localization
from svilm_jax.objectives.multilevel_alignment import MultilevelAlignment
from svilm_jax.objectives.requirements import Requirement
from svilm_jax.objectives.spatial_grounding import SpatialGrounding
from svilm_jax.objectives.temporal_grouping import TemporalGrouping


@runtime_checkable
class Objective(Protocol):
    """Interface of all objectives; the three constants are class attributes."""

    @property
    def weight(self) -> float:
        """The weight of the loss in the sum."""

    @property
    def NEEDS(self) -> tuple[Requirement, ...]:
        """The inputs that the rest of the config has to provide."""

    @property
    def READS(self) -> tuple[str, ...]:
        """The fields of the outputs that it reads, named as in `keep_only`."""

    @property
    def SPANS_BATCH(self) -> bool:
        """Whether a row's loss depends on the other rows of its batch."""

    def __call__(
        self, outputs: Any, batch: dict[str, jax.Array], rng: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns the loss and its metrics; `outputs` are those of the task's model, such as `Outputs`."""


OBJECTIVES: dict[str, type] = {
    "classification": Classification,
    "global_contrast": GlobalContrast,
    "localization": Localization,
    "multilevel_alignment": MultilevelAlignment,
    "spatial_grounding": SpatialGrounding,
    "temporal_grouping": TemporalGrouping,
}


def register_objective(name: str, objective: type) -> None:
    """Adds an objective from outside this package, which configs then name in `config.objectives`.

    Call it in a config file, or in a module that an entry point of the group `svilm_jax.plugins` names.

    Args:
      name: key in `config.objectives`, and prefix of the metrics.
      objective: frozen dataclass that implements `Objective`. Its fields are its options, with defaults; `weight` is
        required.

    Raises:
      ValueError: the name is taken by another class.
      TypeError: not a dataclass with a field `weight`, or an attribute of `Objective` is missing.
    """
    check_free("objective", name, OBJECTIVES.get(name), objective)
    fields = {field.name for field in dataclasses.fields(objective)} if dataclasses.is_dataclass(objective) else ()
    if "weight" not in fields:
        raise TypeError(f"objective {name!r}: expected a frozen dataclass with a field `weight`, got {objective!r}")
    if missing := [member for member in ("NEEDS", "READS", "SPANS_BATCH") if not hasattr(objective, member)]:
        raise TypeError(f"objective {name!r}: {objective.__qualname__} lacks {', '.join(missing)}")
    OBJECTIVES[name] = objective


def objective_schema(name: str) -> type:
    """Returns the dataclass whose fields are the options of the objective `name`.

    Raises:
      ConfigError: there is no such objective; the message suggests the nearest name.
    """
    load_plugins()
    if name not in OBJECTIVES:
        raise ConfigError(
            f"config.objectives.{name}: no such objective{nearest(name, OBJECTIVES)}; known: "
            f"{', '.join(sorted(OBJECTIVES))}"
        )
    return OBJECTIVES[name]


def resolve_objective(name: str, options: Mapping[str, Any]) -> Objective:
    """Builds the objective of one entry of `config.objectives`.

    Raises:
      ConfigError: an unknown name or option, or an invalid value of an option.
    """
    path = f"config.objectives.{name}"
    schema = objective_schema(name)
    try:
        objective: Objective = resolve_options(schema, options, path)
    except ConfigError:
        raise
    except ValueError as error:  # of options that exclude each other, from `__post_init__`
        named = str(error).partition("=")[0] in {field.name for field in dataclasses.fields(schema)}
        raise ConfigError(f"{path}{'.' if named else ': '}{error}") from error
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
    for name, objective in built.items():
        for requirement in objective.NEEDS:
            if reason := requirement.unmet(config):
                raise ConfigError(f"config.objectives.{name} {reason}")
    return built


def total_loss(
    objectives: Mapping[str, Objective],
    outputs: Outputs | LocalizationOutputs,
    batch: dict[str, jax.Array],
    rng: jax.Array,
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
