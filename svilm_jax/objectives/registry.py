"""Which objectives does a config name, and what is their sum?

An objective is a frozen dataclass: its fields are its options in the config, `weight` among them, and calling it gives
`(loss, metrics)`. A new one is a new file and a line in `OBJECTIVES`.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from svilm_jax.config import ConfigError, nearest, resolve_options
from svilm_jax.models.outputs import Outputs
from svilm_jax.objectives.global_contrast import GlobalContrast
from svilm_jax.objectives.spatial_grounding import SpatialGrounding
from svilm_jax.objectives.temporal_grouping import TemporalGrouping


class Objective(Protocol):
    """What every objective is."""

    @property
    def weight(self) -> float: ...

    def __call__(
        self, outputs: Outputs, batch: dict[str, jax.Array], rng: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]: ...


OBJECTIVES: dict[str, type] = {
    "global_contrast": GlobalContrast,
    "spatial_grounding": SpatialGrounding,
    "temporal_grouping": TemporalGrouping,
}


def build_objectives(table: Mapping[str, Mapping[str, Any]], spliced: bool) -> dict[str, Objective]:
    """The objectives of `config.objectives`; those of weight 0 are left out.

    Raises:
      ConfigError: no objective, an unknown name, option or choice, a value of another type, or temporal grouping
        without cut and paste.
    """
    built: dict[str, Objective] = {}
    for name, options in table.items():
        if name not in OBJECTIVES:
            raise ConfigError(
                f"config.objectives.{name}: no such objective{nearest(name, OBJECTIVES)}; known: {sorted(OBJECTIVES)}"
            )
        path = f"config.objectives.{name}"
        objective: Any = resolve_options(OBJECTIVES[name], options, path)
        for key, choices in OBJECTIVES[name].CHOICES.items():  # type: ignore[attr-defined]
            value = getattr(objective, key)
            if value not in choices:
                raise ConfigError(f"{path}.{key}={value!r}: expected one of {choices}{nearest(value, choices)}")
        if objective.weight:
            built[name] = objective
    if not built:
        raise ConfigError(f"config.objectives: name at least one of {sorted(OBJECTIVES)} with a weight above 0")
    if "temporal_grouping" in built and not spliced:
        raise ConfigError("config.objectives.temporal_grouping needs cut and paste: config.splice.enabled=True")
    return built


def total_loss(
    objectives: Mapping[str, Objective], outputs: Outputs, batch: dict[str, jax.Array], rng: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The weighted sum, and every part of it: `loss/total`, `loss/NAME` (unweighted) and `NAME/METRIC`."""
    total = jnp.zeros((), jnp.float32)
    metrics: dict[str, jax.Array] = {}
    for number, (name, objective) in enumerate(sorted(objectives.items())):
        loss, extra = objective(outputs, batch, jax.random.fold_in(rng, number))
        total = total + objective.weight * loss
        metrics[f"loss/{name}"] = loss
        metrics.update({f"{name}/{key}": value for key, value in extra.items()})
    return total, {"loss/total": total, **metrics}
