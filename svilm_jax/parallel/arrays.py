"""How does a host's batch become one array over all devices?"""

from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from svilm_jax.parallel.mesh import BATCH_AXES


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over all data-parallel devices, everything else whole."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def to_global_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """The rows that this process holds, as global arrays: row order is process order."""
    sharding = batch_sharding(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, rows) for name, rows in batch.items()}
