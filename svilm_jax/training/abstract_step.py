"""Train step of a config traced without data or devices, and its ahead-of-time plan."""

import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from svilm_jax.checkpoints.train_state import StateSpec, make_state_spec
from svilm_jax.config import Config, ConfigError
from svilm_jax.input.batch_spec import batch_spec
from svilm_jax.models.parameters import count
from svilm_jax.objectives import build_objectives
from svilm_jax.parallel import batch_sharding, check_replication, make_mesh, targeting
from svilm_jax.profiling.aot import StepPlan, compile_traced, make_plan, topology_devices
from svilm_jax.profiling.device_specs import DeviceSpec, published_spec
from svilm_jax.profiling.jaxpr_flops import product_flops
from svilm_jax.training.freezing import frozen
from svilm_jax.training.optimizer import make_optimizer, make_schedule
from svilm_jax.training.step import check_step, fit_to_mesh, make_step


def plan_step(config: Config, vocab_size: int, topology: str, slices: int = 1) -> StepPlan:
    """Compiles the train step of a config for a TPU topology such as `v5e:16x16`.

    Raises:
      ConfigError: no such topology, no libtpu, or a config that does not fit the mesh.
    """
    devices = topology_devices(topology, slices)
    known = published_spec(devices[0].device_kind)
    if known is None:
        raise ConfigError(f"--topology={topology}: no published figures for {devices[0].device_kind!r} are known here")
    return plan_step_for(config, vocab_size, topology, devices, known[1])


def plan_step_for(
    config: Config, vocab_size: int, topology: str, devices: Sequence[jax.Device], chip: DeviceSpec
) -> StepPlan:
    """Compiles the train step for given devices, attached or not; `topology` is only reported."""
    mesh = make_mesh(config.mesh, devices)
    started = time.monotonic()
    spec, traced = trace_step(config, vocab_size, mesh)
    sizes, batch_bytes = _sizes(config, vocab_size, spec, mesh)
    flops = product_flops(traced.jaxpr)
    peak, traffic = compile_traced(traced, mesh)
    seconds = time.monotonic() - started
    return make_plan(config, topology, mesh, chip, sizes, batch_bytes, flops, peak, traffic, seconds)


def trace_step(config: Config, vocab_size: int, mesh: Mesh, pad_id: int = 0) -> tuple[StateSpec, Any]:
    """Traces the train step of a config for the devices of a mesh, without allocating anything.

    Args:
      config: resolved; `train.steps` = 0 is replaced by a schedule of 1,000 steps.
      vocab_size: rows of the token embedding.
      mesh: of devices that need not be attached.
      pad_id: padding token.

    Returns:
      The structure of the state, and the traced step (`jax.stages.Traced`).

    Raises:
      ConfigError: the config does not fit the mesh.
    """
    objectives = build_objectives(config.objectives, config)
    config = fit_to_mesh(config, mesh)
    check_step(config, objectives, mesh)
    steps = config.train.steps or 1000  # of the schedule: unknown without data, and irrelevant here
    optimizer = make_optimizer(config.optimizer, steps)
    with jax.set_mesh(mesh), targeting(mesh.devices.flat[0].platform):
        structure = make_state_spec(config, vocab_size, pad_id, optimizer, mesh)
        shapes, shardings = structure.shapes, structure.shardings
        frozen(shapes.params, config.init.freeze)  # refuses names that no parameter has
        check_replication(shapes.params, shardings.params, mesh, config.mesh.max_replicated_fraction)
        step = make_step(config, structure, objectives, optimizer, make_schedule(config.optimizer, steps))
        place = lambda shape, sharding: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding)  # noqa: E731
        rows = batch_sharding(mesh)
        batch = {
            name: jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(kind), sharding=rows)
            for name, (shape, kind) in batch_spec(config).items()
        }
        return structure, step.trace(jax.tree.map(place, shapes, shardings), batch)


def _sizes(config: Config, vocab_size: int, structure: StateSpec, mesh: Mesh) -> tuple[dict[str, int], int]:
    """Returns the bytes per chip of parameters, optimizer state and batch."""
    shapes, shardings, rows = structure.shapes, structure.shardings, batch_sharding(mesh)
    sizes = {
        "parameters": count(shapes.params),
        "vocab_size": vocab_size,
        "parameter_bytes": _held(shapes.params, shardings.params) + _held(shapes.ema, shardings.ema),
        "optimizer_bytes": _held(shapes.optimizer, shardings.optimizer),
    }
    batch = (jax.ShapeDtypeStruct(shape, kind) for shape, kind in batch_spec(config).values())
    return sizes, sum(_bytes(array, rows) for array in batch)


def _held(shapes: Any, shardings: Any) -> int:
    pairs = zip(jax.tree.leaves(shapes), jax.tree.leaves(shardings), strict=True)
    return sum(_bytes(shape, sharding) for shape, sharding in pairs)


def _bytes(shape: Any, sharding: Any) -> int:
    """Returns the bytes of one device's shard."""
    return int(np.prod(sharding.shard_shape(shape.shape))) * shape.dtype.itemsize
