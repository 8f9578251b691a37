"""Table of a model's parameters: names, shapes, sizes and shardings, as clu prints it."""

from typing import Any

import jax
from clu import parameter_overview

from svilm_jax.models.parameters import Params, named


def parameter_table(params: Params, shardings: Any) -> str:
    """Returns one line per parameter, and the totals.

    Args:
      params: arrays or `jax.ShapeDtypeStruct`s.
      shardings: the same tree of NamedShardings.
    """
    # By name: clu flattens dictionaries, but not the lists of modules inside of them.
    placed = {
        name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)
        for (name, array), sharding in zip(named(params).items(), named(shardings).values(), strict=True)
    }
    return str(parameter_overview.get_parameter_overview(placed, include_stats="sharding"))
