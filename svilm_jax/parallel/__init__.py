"""Mesh, logical-axis rules and the placement of arrays on devices."""

from svilm_jax.parallel.arrays import batch_parts, batch_sharding, data_share, to_global_batch, whole_batch
from svilm_jax.parallel.chips import Chip, matmul_rate, peak_flops, published
from svilm_jax.parallel.hosts import Agreement, Ask, is_first, join_hosts
from svilm_jax.parallel.mesh import data_parallelism, make_mesh, named_mesh
from svilm_jax.parallel.pairs import NEVER, Exchange, Score, Streaming, diagonal, reduce_pairs
from svilm_jax.parallel.platform import platform, targeting
from svilm_jax.parallel.sharding import (
    check_replication,
    constrain,
    layout,
    parameter_shardings,
    sequence_parts,
    sharding_table,
)

__all__ = [
    "Agreement",
    "Ask",
    "Chip",
    "Exchange",
    "NEVER",
    "Score",
    "Streaming",
    "batch_parts",
    "batch_sharding",
    "check_replication",
    "constrain",
    "data_parallelism",
    "data_share",
    "diagonal",
    "is_first",
    "join_hosts",
    "layout",
    "make_mesh",
    "matmul_rate",
    "named_mesh",
    "parameter_shardings",
    "peak_flops",
    "platform",
    "published",
    "reduce_pairs",
    "sequence_parts",
    "sharding_table",
    "targeting",
    "to_global_batch",
    "whole_batch",
]
