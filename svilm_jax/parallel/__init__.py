"""Mesh, logical-axis rules and the placement of arrays on devices."""

from svilm_jax.parallel.arrays import batch_parts, batch_sharding, data_shard, to_global_batch, whole_batch
from svilm_jax.parallel.chunked_contrastive import MASK_VALUE, Exchange, Score, Streaming, diagonal, reduce_pairs
from svilm_jax.parallel.distributed import HostConsensus, HostRequest, initialize_distributed, is_lead_process
from svilm_jax.parallel.mesh import data_parallelism, make_mesh, mesh_shape, named_mesh
from svilm_jax.parallel.platform import platform, targeting
from svilm_jax.parallel.sharding import check_replication, constrain, layout, parameter_shardings, sequence_parts

__all__ = [
    "HostConsensus",
    "HostRequest",
    "Exchange",
    "MASK_VALUE",
    "Score",
    "Streaming",
    "batch_parts",
    "batch_sharding",
    "check_replication",
    "constrain",
    "data_parallelism",
    "data_shard",
    "diagonal",
    "is_lead_process",
    "initialize_distributed",
    "layout",
    "make_mesh",
    "mesh_shape",
    "named_mesh",
    "parameter_shardings",
    "platform",
    "reduce_pairs",
    "sequence_parts",
    "targeting",
    "to_global_batch",
    "whole_batch",
]
