"""Conversion of per-host batches into global arrays over all devices."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from svilm_jax.config import ConfigError
from svilm_jax.parallel.mesh import BATCH_AXES, data_parallelism
from svilm_jax.parallel.sharding import constrain


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch: rows over all data-parallel devices, all other axes replicated."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


@functools.cache
def data_shard(mesh: Mesh) -> tuple[int, int]:
    """Returns which part of every batch this process reads: (index, number of parts).

    Processes whose devices lie along `seq` or `tensor` of the same clips read the same part.

    Raises:
      ConfigError: the rows of this process's devices are not one of several equal parts.
    """
    pieces = data_parallelism(mesh)
    where = batch_sharding(mesh).addressable_devices_indices_map((pieces,))
    own = sorted({index[0].indices(pieces)[0] for index in where.values() if index})
    if own != list(range(own[0], own[0] + len(own))) or own[0] % len(own) or pieces % len(own):
        raise ConfigError(
            f"config.mesh: the devices of process {jax.process_index()} hold parts {own} of {pieces} of a batch, "
            "which are not one of equal blocks: make seq or tensor a divisor or a multiple of the devices per host"
        )
    return own[0] // len(own), pieces // len(own)


def batch_parts(batch: Any, count: int) -> Any:
    """Splits arrays [B, ...] -> [count, B/count, ...]: every part has rows of every device, so that no data moves.

    A scalar applies to all parts: the first part gets its value and the others zero, so that the parts sum to it.
    """
    pieces = data_parallelism(jax.sharding.get_abstract_mesh())

    def cut(x: jax.Array) -> jax.Array:
        if x.ndim == 0:
            return jnp.zeros(count, x.dtype).at[0].set(x)
        rows = x.reshape(pieces, count, -1, *x.shape[1:])  # [P, count, B/P/count, ...]
        parts = jnp.moveaxis(rows, 1, 0).reshape(count, -1, *x.shape[1:])
        return constrain(parts, None, "batch", *(None for _ in x.shape[1:]))

    return jax.tree.map(cut, batch)


def whole_batch(parts: Any) -> Any:
    """Inverts `batch_parts`: [count, B/count, ...] -> [B, ...]; of [count] the first element."""
    pieces = data_parallelism(jax.sharding.get_abstract_mesh())

    def join(x: jax.Array) -> jax.Array:
        if x.ndim == 1:
            return x[0]
        rows = x.reshape(len(x), pieces, -1, *x.shape[2:])  # [count, P, B/P/count, ...]
        return constrain(jnp.moveaxis(rows, 0, 1).reshape(-1, *x.shape[2:]), "batch", *(None for _ in x.shape[2:]))

    return jax.tree.map(join, parts)


def to_global_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Converts the rows of this process to global arrays; rows are in the order of `data_shard`."""
    sharding, (_, count) = batch_sharding(mesh), data_shard(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, rows, (len(rows) * count, *rows.shape[1:]))
        for name, rows in batch.items()
    }
