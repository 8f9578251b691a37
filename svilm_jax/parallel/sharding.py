"""Sharding of parameters and activations: logical axis names, and one rule table that maps them to the mesh.

A parameter carries the names of its axes in its NNX metadata (`axes=("embed", "mlp")`), set where it is created; a
stacked layer has an additional leading axis. The rules are the same for all presets, since a mesh axis of one device
shards nothing.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from flax import nnx
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from svilm_jax.config import ConfigError
from svilm_jax.parallel.mesh import BATCH_AXES

log = logging.getLogger(__name__)

# The feature axis of nearly every matrix is sharded over fsdp; heads, hidden units and the vocabulary over tensor.
# Devices along seq hold shards of parameters, too.
RULES: Mapping[str, str | tuple[str, ...] | None] = {
    "batch": BATCH_AXES,
    "rows": (*BATCH_AXES, "seq"),  # sentences, which are too short to shard their tokens
    "seq": "seq",
    "embed": ("fsdp", "seq"),
    "joint": None,
    "heads": "tensor",
    "mlp": "tensor",
    "vocab": "tensor",
    "patch": None,
    "norm": None,  # vectors of a layer norm: too small to be worth a gather
    "layers": None,
}


def layout(shape: Sequence[int], axes: Sequence[str | None], mesh: Mesh | AbstractMesh) -> PartitionSpec:
    """Returns the partition of an array of this shape with the given logical axis names.

    An axis that is not divisible by all of its mesh axes is sharded along the first of them only, or replicated.
    """

    def cut(size: int, name: str | None) -> tuple[str, ...] | None:
        rule = RULES[name] if name else None
        along = [a for a in ((rule,) if isinstance(rule, str) else rule or ()) if mesh.shape[a] > 1]
        while along and size % math.prod(mesh.shape[a] for a in along):
            along.pop()
        return tuple(along) or None

    return PartitionSpec(*(cut(size, name) for size, name in zip(shape, axes, strict=True)))


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
    """Constrains an activation to the layout of its logical axes; does nothing where no mesh is set."""
    mesh = jax.sharding.get_abstract_mesh()
    return x if mesh.empty else jax.lax.with_sharding_constraint(x, layout(x.shape, axes, mesh))


def sequence_parts() -> int:
    """Returns the number of devices that shard the tokens of a clip; 1 where no mesh is set."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else mesh.shape["seq"]


def parameter_spec(variable: nnx.Variable, mesh: Mesh) -> PartitionSpec:
    """Returns the partition of one parameter. Its `axes` name the last axes; leading ones are stacked layers.

    An axis that the mesh does not divide is replicated: the replication check decides whether that matters.
    """
    axes = variable.get_metadata().get("axes", ())
    stacked = (None,) * (len(variable.shape) - len(axes))
    return layout(variable.shape, (*stacked, *axes), mesh)


def parameter_shardings(state: nnx.State, mesh: Mesh) -> Any:
    """Returns NamedShardings as a pure nested dict, matching `nnx.to_pure_dict(state)`."""
    shardings = jax.tree.map(
        lambda v: v.replace(NamedSharding(mesh, parameter_spec(v, mesh))),
        state,
        is_leaf=lambda v: isinstance(v, nnx.Variable),
    )
    return nnx.to_pure_dict(shardings)


def check_replication(params: Any, shardings: Any, mesh: Mesh, limit: float) -> float:
    """Returns the fraction of replicated parameters; raises if it exceeds `limit` on a mesh that should shard.

    Raises:
      ConfigError: the fraction is above `limit`; the message lists the largest offenders.
    """
    sizes = jax.tree_util.tree_leaves_with_path(params)
    whole = [
        (leaf.size, jax.tree_util.keystr(path, simple=True, separator="."))
        for (path, leaf), sharding in zip(sizes, jax.tree.leaves(shardings), strict=True)
        if sharding.is_fully_replicated
    ]
    fraction = sum(size for size, _ in whole) / sum(leaf.size for _, leaf in sizes)
    if mesh.shape["fsdp"] * mesh.shape["seq"] * mesh.shape["tensor"] > 1 and fraction > limit:
        worst = ", ".join(f"{name} ({size})" for size, name in sorted(whole, reverse=True)[:5])
        raise ConfigError(
            f"{fraction:.1%} of the parameters would be replicated on every device, more than "
            f"config.mesh.max_replicated_fraction={limit:.1%}. Largest: {worst}. Not divisible by the mesh "
            f"{dict(mesh.shape)}: choose another width or mesh, or raise the limit."
        )
    return fraction
