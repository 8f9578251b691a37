"""Ahead-of-time compilation of the train step for a device topology without hardware, with memory and time estimates.

`jax.experimental.topologies` and libtpu describe a pod on any Linux machine; the step that `svilm train` would run
there is compiled, and the memory is that of the compiler's plan. Times are roofline estimates from published figures: a
lower bound on the duration of a step, not a prediction.
"""

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import Mesh

from svilm_jax.config import Config, ConfigError
from svilm_jax.parallel import targeting
from svilm_jax.profiling.device_specs import DeviceSpec
from svilm_jax.profiling.hlo_traffic import collective_bytes
from svilm_jax.profiling.model_flops import task_flops

_USED = re.compile(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm")
_GIB = 2**30
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class StepPlan:
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
      compute_seconds, memory_seconds, network_seconds: lower bounds at published rates. Memory traffic includes only
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


def compile_traced(traced: Any, mesh: Mesh) -> tuple[int, dict[str, float]]:
    """Compiles a traced step for the devices of a mesh.

    Args:
      traced: `jax.stages.Traced`.
      mesh: mesh of devices, which need not be attached.

    Returns:
      Peak memory per device in bytes; and bytes sent to other devices, by kind of collective, empty if the step does
      not fit the device.
    """
    try:
        with jax.set_mesh(mesh), targeting(mesh.devices.flat[0].platform):
            lowered = traced.lower()
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        used = _USED.search(str(error))
        if used is None:
            raise
        return int(float(used.group(1)) * _UNITS[used.group(2)]), {}
    return planned_bytes(compiled), collective_bytes(compiled.as_text())


def planned_bytes(compiled: jax.stages.Compiled) -> int:
    """Returns the peak memory of a compiled program on a device: inputs, outputs not aliased to inputs, temporaries."""
    plan: Any = compiled.memory_analysis()
    results = plan.output_size_in_bytes - plan.alias_size_in_bytes
    return int(plan.argument_size_in_bytes + results + plan.temp_size_in_bytes + plan.generated_code_size_in_bytes)


def format_plan(plan: StepPlan) -> str:
    """Formats a plan as lines of name and figure, per chip unless stated otherwise."""
    mesh = ", ".join(f"{axis} {size}" for axis, size in plan.mesh.items()) or "one device"
    traffic = {kind: f"{sent / 2**20:,.0f} MiB" for kind, sent in plan.collective_bytes.items()}
    room = plan.hbm_bytes - plan.peak_hbm_bytes
    left = "left" if room >= 0 else "too much"
    rows = [
        ("topology", f"{plan.topology}, {plan.chips} chips ({plan.device_kind}), mesh {mesh}"),
        ("model", f"{plan.parameters:,} parameters, vocabulary of {plan.vocab_size:,}"),
        ("batch size", f"{plan.batch_size:,} on all chips"),
        ("parameters", _gib(plan.parameter_bytes)),
        ("optimizer state", _gib(plan.optimizer_bytes)),
        ("batch", _gib(plan.batch_bytes)),
        ("activations", f"{_gib(plan.activation_bytes)} and other temporary memory"),
        ("peak HBM", f"{_gib(plan.peak_hbm_bytes)} of {_gib(plan.hbm_bytes)}, {_gib(abs(room))} {left}"),
        ("FLOPs per step", f"{plan.flops_per_chip:.3g}, model FLOPs {plan.model_flops / plan.chips:.3g}"),
        ("sent per step", ", ".join(f"{kind} {sent}" for kind, sent in traffic.items()) or "nothing"),
        ("ESTIMATE compute", f"{plan.compute_seconds * 1e3:.1f} ms at the published peak"),
        ("ESTIMATE memory", f"{plan.memory_seconds * 1e3:.1f} ms for parameters and optimizer state alone"),
        ("ESTIMATE network", f"{plan.network_seconds * 1e3:.1f} ms"),
        ("ESTIMATE step", f"{plan.estimated_step_seconds * 1e3:.1f} ms at least, MFU {plan.estimated_mfu:.0%} at most"),
    ]
    return "\n".join(f"{name:<18} {figure}" for name, figure in rows)


def _gib(size: float) -> str:
    return f"{size / _GIB:.2f} GiB"


def advice(config: Config, plan: StepPlan) -> str:
    """Returns suggestions for a step that does not fit."""
    options = []
    if config.mesh.preset == "dp" and plan.chips > 1:
        options.append("config.mesh.preset=fsdp shards parameters and optimizer state over all chips")
    if config.model.remat != "full":
        options.append("config.model.remat=full stores no activations inside layers")
    if config.train.microbatches == 1:
        options.append("config.train.microbatches=4 encodes the batch in parts (GradCache), for one more forward pass")
    else:
        options.append(f"config.train.microbatches={2 * config.train.microbatches} makes the parts smaller")
    if config.mesh.preset == "fsdp":
        options.append("config.mesh.preset=fsdp_seq with config.mesh.seq=2 shards the tokens of a clip")
    options.append("config.train.batch_size or config.model.video.num_frames can be lowered, or take more chips")
    over = (plan.peak_hbm_bytes - plan.hbm_bytes) / 2**30
    return f"it does not fit by {over:.1f} GiB per chip. " + "; ".join(options)


def make_plan(
    config: Config,
    topology: str,
    mesh: Mesh,
    chip: DeviceSpec,
    sizes: dict[str, int],
    batch_bytes: int,
    flops: float,
    peak: int,
    traffic: dict[str, float],
    seconds: float,
) -> StepPlan:
    """Derives times from published rates, and returns the plan.

    Args:
      config: config of the run.
      topology: name that is reported.
      mesh: target devices.
      chip: specification of one of them.
      sizes: `parameters`, `vocab_size`, `parameter_bytes`, `optimizer_bytes` of `StepPlan`.
      batch_bytes: per device.
      flops: FLOPs of a step on all devices, as traced.
      peak: planned memory per device in bytes.
      traffic: bytes by kind of collective.
      seconds: duration of the compilation.
    """
    model_flops = task_flops(config) * config.train.batch_size
    compute = flops / mesh.size / chip.flops
    memory = 2 * (sizes["parameter_bytes"] + sizes["optimizer_bytes"]) / chip.hbm_bandwidth
    network = sum(traffic.values()) / chip.ici_bandwidth
    step = max(compute, memory, network)
    return StepPlan(
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


def topology_devices(topology: str, slices: int = 1) -> list[jax.Device]:
    """Returns the devices of a TPU topology such as `v5e:16x16`, which need not be attached.

    Raises:
      ConfigError: no such topology, or no libtpu.
    """
    try:
        with _without_tpu():
            found = topologies.get_topology_desc(platform="tpu", topology_name=topology, num_slices=slices)
        return list(found.devices)
    except (RuntimeError, ValueError, KeyError, AttributeError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"--topology={topology}: cannot be described ({reason}). Expected GENERATION:SHAPE, such as v5e:16x16, "
            "v5p:4x4x4 or v6e:16x16, and libtpu in addition to JAX: pip install 'svilm_jax[tpu]'"
        ) from error


@contextlib.contextmanager
def _without_tpu() -> Iterator[None]:
    """Keeps libtpu from looking for a TPU of this machine and locking it."""
    variables = {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_ACCELERATOR_TYPE": "v5litepod-4"}
    variables |= {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
    missing = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]
