"""Device mesh with five axes, shared by all presets.

`dcn` counts slices, which are connected only by the data center network; `data` replicates parameters, `fsdp` shards
them along with the batch, `seq` shards the tokens of a clip, `tensor` shards the inner dimension of layers. A preset
gives the number of devices per axis; an axis of one device costs nothing, so the code never branches on the preset.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, cast

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh

from svilm_jax.config import ConfigError, MeshConfig, nearest

# Outermost first: the last axes communicate most, and are placed on adjacent devices.
AXES = ("dcn", "data", "fsdp", "seq", "tensor")
BATCH_AXES = ("dcn", "data", "fsdp")  # the batch is sharded over all three
PRESETS = ("dp", "fsdp", "fsdp_tp", "fsdp_seq")
ADDED_AXES = {"fsdp_tp": "tensor", "fsdp_seq": "seq"}  # in addition to those of fsdp


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Creates the mesh of a preset over all devices (or the given ones).

    With several slices parameters are sharded inside each and replicated over them (HSDP): gradients cross the slow
    network once per step, and nothing else does.

    Raises:
      ConfigError: axis sizes that do not divide the number of devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    slices, *inside = mesh_shape(config, len(devices), len({getattr(device, "slice_index", 0) for device in devices}))
    shape = (1, *inside)  # of a slice
    # Auto: the compiler chooses layouts between our constraints. JAX's own default differs between releases.
    kinds = (AxisType.Auto,) * len(AXES)
    if slices == 1:
        return jax.make_mesh(shape, AXES, axis_types=kinds, devices=devices)
    if hasattr(devices[0], "slice_index"):
        grid = mesh_utils.create_hybrid_device_mesh(shape, (slices, 1, 1, 1, 1), devices)
    else:  # devices without slice information: equal parts in their order, which is that of processes
        grid = np.array(devices).reshape(slices, *shape[1:])
    return Mesh(grid, AXES, axis_types=kinds)


def mesh_shape(config: MeshConfig, devices: int, physical_slices: int = 1) -> tuple[int, ...]:
    """Returns the number of devices along each axis of the mesh of a preset.

    Args:
      config: the preset and its sizes.
      devices: number of all devices.
      physical_slices: number of slices in which they lie.

    Raises:
      ConfigError: axis sizes that do not divide the number of devices.
    """
    for preset, name in ADDED_AXES.items():
        if getattr(config, name) != 1 and config.preset != preset:
            raise ConfigError(
                f"config.mesh.{name}={getattr(config, name)}: only the preset {preset} has devices along {name}"
            )
    slices = config.num_slices or physical_slices
    if slices < 1 or devices % slices or (physical_slices > 1 and physical_slices != slices):
        lie = f"these {devices} devices lie in {physical_slices} slices"
        known = lie if physical_slices > 1 else f"{devices} devices"
        raise ConfigError(f"config.mesh.num_slices={config.num_slices}: {known}; 0 uses their own number")
    count = devices // slices
    inside = config.tensor * config.seq
    if inside < 1 or count % inside:
        name = "tensor" if config.tensor != 1 else "seq"
        raise ConfigError(f"config.mesh.{name}={inside}: must divide the {count} devices{' of a slice' * (slices > 1)}")
    if config.preset == "dp":
        return slices, count, 1, 1, 1
    return slices, 1, count // inside, config.seq, config.tensor


def named_mesh(text: str, config: MeshConfig) -> MeshConfig:
    """Parses `PRESET` or `PRESET:N`, with N devices along the axis that the preset adds, into a config.

    Raises:
      ConfigError: an unknown preset, or a missing or invalid number.
    """
    preset, colon, number = text.partition(":")
    axis = ADDED_AXES.get(preset)
    if preset not in PRESETS or (colon and (axis is None or not number.isdigit())):
        raise ConfigError(
            f"--mesh={text}: expected one of {PRESETS}, the last two with a number of devices, such as fsdp_tp:4"
            f"{nearest(preset, PRESETS)}"
        )
    sizes = dict.fromkeys(ADDED_AXES.values(), 1) | ({axis: int(number)} if axis and number else {})
    return dataclasses.replace(config, preset=cast(Any, preset), **sizes)  # one of `PRESETS`


def data_parallelism(mesh: Mesh | AbstractMesh) -> int:
    """Returns the number of shards of the batch; 1 without a mesh."""
    return 1 if mesh.empty else math.prod(mesh.shape[axis] for axis in BATCH_AXES)
