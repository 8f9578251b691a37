"""Mesh, logical-axis rules and the placement of arrays on devices."""

from svilm_jax.parallel.arrays import batch_sharding, to_global_batch
from svilm_jax.parallel.mesh import data_parallelism, make_mesh
from svilm_jax.parallel.peak import peak_flops
from svilm_jax.parallel.sharding import RULES, check_replication, constrain, parameter_shardings, sharding_table

__all__ = [
    "RULES",
    "batch_sharding",
    "check_replication",
    "constrain",
    "data_parallelism",
    "make_mesh",
    "parameter_shardings",
    "peak_flops",
    "sharding_table",
    "to_global_batch",
]
