"""Which devices, in which arrangement? One mesh with three axes for every preset.

`data` replicates parameters, `fsdp` shards them along with the batch, `tensor` shards the inside of layers. A preset
says how many devices each axis gets; an axis of one device costs nothing, so the code never asks which preset runs.
"""

import math
from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh

from svilm_jax.config import ConfigError, MeshConfig, nearest

AXES = ("data", "fsdp", "tensor")
BATCH_AXES = ("data", "fsdp")  # the batch is split over both
PRESETS = ("dp", "fsdp", "fsdp_tp")


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh of a preset over all devices (or those given).

    Raises:
      ConfigError: an unknown preset, or a tensor axis that does not divide the devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    count = len(devices)
    if config.preset not in PRESETS:
        raise ConfigError(
            f"config.mesh.preset={config.preset!r}: expected one of {PRESETS}{nearest(config.preset, PRESETS)}"
        )
    if config.preset != "fsdp_tp" and config.tensor != 1:
        raise ConfigError(f"config.mesh.tensor={config.tensor}: only the preset fsdp_tp has a tensor axis")
    if config.tensor < 1 or count % config.tensor:
        raise ConfigError(f"config.mesh.tensor={config.tensor}: must divide the {count} devices")
    shape = {
        "dp": (count, 1, 1),
        "fsdp": (1, count, 1),
        "fsdp_tp": (1, count // config.tensor, config.tensor),
    }[config.preset]
    # Auto: the compiler chooses layouts between our constraints. JAX's own default has changed between releases.
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def data_parallelism(mesh: Mesh) -> int:
    """Into how many pieces the batch is cut."""
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES)
