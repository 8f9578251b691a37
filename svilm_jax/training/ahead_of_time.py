"""Ahead-of-time compilation of the train step for a device topology without hardware, with memory and time estimates.

`jax.experimental.topologies` and libtpu describe a pod on any Linux machine; the step that `svilm train` would run
there is compiled, and the memory is that of the compiler's plan. Times are roofline estimates from published figures: a
lower bound on the duration of a step, not a prediction.
"""

import contextlib
import dataclasses
import os
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh

from svilm_jax.config import Config, ConfigError
from svilm_jax.input.batch_spec import batch_spec
from svilm_jax.models.flops import task_flops
from svilm_jax.models.parameters import count
from svilm_jax.objectives import build_objectives
from svilm_jax.parallel import (
    Chip,
    batch_sharding,
    check_replication,
    make_mesh,
    published,
    targeting,
)
from svilm_jax.parallel.arithmetic import product_flops
from svilm_jax.parallel.hlo import collective_bytes
from svilm_jax.training.freezing import frozen
from svilm_jax.training.optimizer import make_optimizer, make_schedule
from svilm_jax.training.state import Structure, make_structure
from svilm_jax.training.step import check_step, make_step

_USED = re.compile(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm")
_GIB = 2**30
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Forecast:
    """Resource plan of a train step; per chip unless stated otherwise, in bytes and seconds.

    Attributes:
      topology, chips, mesh: the target.
      device_kind: JAX's name of the chip.
      batch_size: global batch size.
      parameters: number of model parameters.
      vocab_size: number of token embeddings.
      fits: whether the plan stays within the chip's memory.
      parameter_bytes, optimizer_bytes, batch_bytes: inputs of a step.
      activation_bytes: the rest of the peak, which the step allocates in addition to its inputs.
      peak_hbm_bytes: the compiler's plan; where it does not fit, the memory that the plan would need.
      hbm_bytes: memory of the chip.
      flops_per_chip: matrix products of the traced step, including rematerialization, divided evenly.
      model_flops: FLOPs of a step on all chips, counted analytically, without rematerialization.
      collective_bytes: kind -> bytes sent to other chips in a step.
      compute_seconds, memory_seconds, network_seconds: each alone at published rates. Memory traffic includes only
        what is certain: one read and write of parameters and optimizer state. Traffic between slices is counted like
        traffic between neighbors, although it takes longer.
      estimated_step_seconds: the largest of the three.
      estimated_mfu: model FLOPs over the peak FLOPs of all chips in that time.
      compile_seconds: on the compiling machine.
    """

    topology: str
    chips: int
    mesh: dict[str, int]
    device_kind: str
    batch_size: int
    parameters: int
    vocab_size: int
    fits: bool
    parameter_bytes: int
    optimizer_bytes: int
    batch_bytes: int
    activation_bytes: int
    peak_hbm_bytes: int
    hbm_bytes: int
    flops_per_chip: float
    model_flops: float
    collective_bytes: dict[str, float]
    compute_seconds: float
    memory_seconds: float
    network_seconds: float
    estimated_step_seconds: float
    estimated_mfu: float
    compile_seconds: float


def forecast(config: Config, vocab_size: int, topology: str, slices: int = 1) -> Forecast:
    """Compiles the train step of a config for a TPU topology such as `v5e:16x16`.

    Raises:
      ConfigError: no such topology, no libtpu, or a config that does not fit the mesh.
    """
    devices = _devices(topology, slices)
    known = published(devices[0].device_kind)
    if known is None:
        raise ConfigError(f"--topology={topology}: no published figures for {devices[0].device_kind!r} are known here")
    return forecast_for(config, vocab_size, topology, devices, known[1])


def forecast_for(config: Config, vocab_size: int, topology: str, devices: Sequence[jax.Device], chip: Chip) -> Forecast:
    """The same for given devices, attached or not; `topology` is only reported."""
    mesh = make_mesh(config.mesh, devices)
    started = time.monotonic()
    structure, traced = trace_step(config, vocab_size, mesh)
    sizes, batch_bytes = _sizes(config, vocab_size, structure, mesh)
    flops = product_flops(traced.jaxpr)
    try:
        with jax.set_mesh(mesh), targeting(mesh.devices.flat[0].platform):
            lowered = traced.lower()
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        used = _USED.search(str(error))
        if used is None:
            raise
        needed = int(float(used.group(1)) * _UNITS[used.group(2)])
        traffic, peak = {}, needed
    else:
        peak = planned_bytes(compiled)
        traffic = collective_bytes(compiled.as_text())
    seconds = time.monotonic() - started
    return _told(config, topology, mesh, chip, sizes, batch_bytes, flops, peak, traffic, seconds)


def planned_bytes(compiled: jax.stages.Compiled) -> int:
    """Returns the peak memory of a compiled program on a device: inputs, outputs not aliased to inputs, temporaries."""
    plan: Any = compiled.memory_analysis()
    results = plan.output_size_in_bytes - plan.alias_size_in_bytes
    return int(plan.argument_size_in_bytes + results + plan.temp_size_in_bytes + plan.generated_code_size_in_bytes)


def format_forecast(told: Forecast) -> str:
    """Formats a forecast as lines of name and figure, per chip unless a line says otherwise."""
    mesh = ", ".join(f"{axis} {size}" for axis, size in told.mesh.items()) or "one device"
    traffic = {kind: f"{sent / 2**20:,.0f} MiB" for kind, sent in told.collective_bytes.items()}
    room = told.hbm_bytes - told.peak_hbm_bytes
    left = "left" if room >= 0 else "too much"
    rows = [
        ("topology", f"{told.topology}, {told.chips} chips ({told.device_kind}), mesh {mesh}"),
        ("model", f"{told.parameters:,} parameters, vocabulary of {told.vocab_size:,}"),
        ("batch size", f"{told.batch_size:,} on all chips"),
        ("parameters", _gib(told.parameter_bytes)),
        ("optimizer state", _gib(told.optimizer_bytes)),
        ("batch", _gib(told.batch_bytes)),
        ("activations", f"{_gib(told.activation_bytes)} and other temporary memory"),
        ("peak HBM", f"{_gib(told.peak_hbm_bytes)} of {_gib(told.hbm_bytes)}, {_gib(abs(room))} {left}"),
        ("FLOPs per step", f"{told.flops_per_chip:.3g}, model FLOPs {told.model_flops / told.chips:.3g}"),
        ("sent per step", ", ".join(f"{kind} {sent}" for kind, sent in traffic.items()) or "nothing"),
        ("ESTIMATE compute", f"{told.compute_seconds * 1e3:.1f} ms at the published peak"),
        ("ESTIMATE memory", f"{told.memory_seconds * 1e3:.1f} ms for parameters and optimizer state alone"),
        ("ESTIMATE network", f"{told.network_seconds * 1e3:.1f} ms"),
        ("ESTIMATE step", f"{told.estimated_step_seconds * 1e3:.1f} ms at least, MFU {told.estimated_mfu:.0%} at most"),
    ]
    return "\n".join(f"{name:<18} {figure}" for name, figure in rows)


def _gib(size: float) -> str:
    return f"{size / _GIB:.2f} GiB"


def advice(config: Config, told: Forecast) -> str:
    """Returns suggestions for a step that does not fit."""
    options = []
    if config.mesh.preset == "dp" and told.chips > 1:
        options.append("config.mesh.preset=fsdp shards parameters and optimizer state over all chips")
    if config.model.remat != "full":
        options.append("config.model.remat=full stores no activations inside layers")
    if config.train.microbatches == 1:
        options.append("config.train.microbatches=4 encodes the batch in parts (GradCache), for one more forward pass")
    else:
        options.append(f"config.train.microbatches={2 * config.train.microbatches} makes the parts smaller")
    if config.mesh.preset == "fsdp":
        options.append("config.mesh.preset=fsdp_seq with config.mesh.seq=2 shards the tokens of a clip")
    options.append("config.train.batch_size or config.model.video.frames can be lowered, or take more chips")
    over = (told.peak_hbm_bytes - told.hbm_bytes) / 2**30
    return f"it does not fit by {over:.1f} GiB per chip. " + "; ".join(options)


def trace_step(config: Config, vocab_size: int, mesh: Mesh, pad_id: int = 0) -> tuple[Structure, Any]:
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
    check_step(config, objectives, mesh)
    steps = config.train.steps or 1000  # of the schedule: unknown without data, and irrelevant here
    optimizer = make_optimizer(config.optimizer, steps, None)
    with jax.set_mesh(mesh), targeting(mesh.devices.flat[0].platform):
        structure = make_structure(config, vocab_size, pad_id, optimizer, mesh)
        shapes, shardings = structure.shapes, structure.shardings
        frozen(shapes.params, config.init.freeze)  # refuses names that no parameter has
        check_replication(shapes.params, shardings.params, mesh, config.mesh.max_replicated_share)
        step = make_step(config, structure, objectives, optimizer, make_schedule(config.optimizer, steps))
        place = lambda shape, sharding: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding)  # noqa: E731
        rows = batch_sharding(mesh)
        batch = {
            name: jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(kind), sharding=rows)
            for name, (shape, kind) in batch_spec(config).items()
        }
        return structure, step.trace(jax.tree.map(place, shapes, shardings), batch)


def _sizes(config: Config, vocab_size: int, structure: Structure, mesh: Mesh) -> tuple[dict[str, int], int]:
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


def _told(
    config: Config,
    topology: str,
    mesh: Mesh,
    chip: Chip,
    sizes: dict[str, int],
    batch_bytes: int,
    flops: float,
    peak: int,
    traffic: dict[str, float],
    seconds: float,
) -> Forecast:
    model_flops = task_flops(config) * config.train.batch_size
    compute = flops / mesh.size / chip.flops
    memory = 2 * (sizes["parameter_bytes"] + sizes["optimizer_bytes"]) / chip.hbm_bandwidth
    network = sum(traffic.values()) / chip.ici_bandwidth
    step = max(compute, memory, network)
    return Forecast(
        topology=topology,
        chips=mesh.size,
        mesh={axis: size for axis, size in mesh.shape.items() if size > 1},
        device_kind=mesh.devices.flat[0].device_kind,
        batch_size=config.train.batch_size,
        fits=peak <= chip.hbm_bytes,
        batch_bytes=batch_bytes,
        activation_bytes=max(peak - sizes["parameter_bytes"] - sizes["optimizer_bytes"] - batch_bytes, 0),
        peak_hbm_bytes=peak,
        hbm_bytes=chip.hbm_bytes,
        flops_per_chip=flops / mesh.size,
        model_flops=model_flops,
        collective_bytes=traffic,
        compute_seconds=compute,
        memory_seconds=memory,
        network_seconds=network,
        estimated_step_seconds=step,
        estimated_mfu=model_flops / mesh.size / step / chip.flops,
        compile_seconds=seconds,
        **sizes,
    )


def _held(shapes: Any, shardings: Any) -> int:
    pairs = zip(jax.tree.leaves(shapes), jax.tree.leaves(shardings), strict=True)
    return sum(_bytes(shape, sharding) for shape, sharding in pairs)


def _bytes(shape: Any, sharding: Any) -> int:
    """Returns the bytes of one device's shard."""
    return int(np.prod(sharding.shard_shape(shape.shape))) * shape.dtype.itemsize


def _devices(topology: str, slices: int) -> list[jax.Device]:
    try:
        with _alone():
            found = topologies.get_topology_desc(platform="tpu", topology_name=topology, num_slices=slices)
        return list(found.devices)
    except (RuntimeError, ValueError, KeyError, AttributeError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"--topology={topology}: cannot be described ({reason}). Expected GENERATION:SHAPE, such as v5e:16x16, "
            "v5p:4x4x4 or v6e:16x16, and libtpu in addition to JAX: pip install 'svilm_jax[tpu]'"
        ) from error


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keeps libtpu from looking for the TPU of this machine and locking it; none is needed here."""
    told = {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_ACCELERATOR_TYPE": "v5litepod-4"}
    told |= {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
    missing = {name: value for name, value in told.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]
