"""Train step of a config, compiled for the devices at hand and run on random data.

Used by `train_step.py` and by `experiments/accelerator`. Does not import video decoding, record reading or checkpoints.
"""

import dataclasses
import time
from typing import Any

import jax
import numpy as np

from svilm_jax.checkpoints.train_state import StateSpec, init_state
from svilm_jax.config import Config
from svilm_jax.input.batch_spec import batch_spec
from svilm_jax.input.segments import localization_targets
from svilm_jax.parallel import make_mesh, to_global_batch
from svilm_jax.profiling.aot import planned_bytes
from svilm_jax.profiling.jaxpr_flops import product_flops
from svilm_jax.profiling.model_flops import task_flops
from svilm_jax.training.abstract_step import trace_step
from svilm_jax.training.optimizer import make_optimizer

VOCAB_SIZE = 30_522  # BERT's vocabulary
_STEPS = 1000  # schedule length if a config counts epochs, as `trace_step` assumes


@dataclasses.dataclass
class CompiledStep:
    """A compiled train step.

    Attributes:
      config: resolved config.
      structure: structure of the train state.
      mesh: devices that the step was compiled for.
      compiled: (state, batch) -> (state, metrics); donates the state.
      compile_seconds: time of the compiler, without tracing.
      peak_bytes: peak memory per device as planned by the compiler.
      hardware_flops: matrix products of a step on all devices, rematerialization included, attention
        counted as XLA computes it.
    """

    config: Config
    structure: StateSpec
    mesh: jax.sharding.Mesh
    compiled: Any
    compile_seconds: float
    peak_bytes: int
    hardware_flops: float

    @property
    def model_flops(self) -> float:
        """FLOPs of the matrix products of a step on all devices, counted analytically, without rematerialization."""
        return task_flops(self.config) * self.config.train.batch_size

    def init_state(self, vocab_size: int = VOCAB_SIZE) -> Any:
        """Returns freshly initialized state on the mesh."""
        optimizer = make_optimizer(self.config.optimizer, self.config.train.steps or _STEPS)
        with jax.set_mesh(self.mesh):
            return init_state(self.config, vocab_size, optimizer, self.structure)

    def place(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        """Transfers a host batch to the mesh."""
        with jax.set_mesh(self.mesh):
            return to_global_batch(batch, self.mesh)

    def time(self, state: Any, batch: dict[str, jax.Array], steps: int) -> tuple[Any, float]:
        """Runs `steps` steps back to back, as training does; returns the new state and the mean seconds per step."""
        started = time.perf_counter()
        for _ in range(steps):
            state, metrics = self.compiled(state, batch)
        jax.block_until_ready(metrics["loss/total"])
        return state, (time.perf_counter() - started) / steps


def trace(config: Config, vocab_size: int = VOCAB_SIZE) -> tuple[jax.sharding.Mesh, StateSpec, Any]:
    """Traces the step of a config on all attached devices: mesh, structure and `jax.stages.Traced`."""
    mesh = make_mesh(config.mesh)
    return (mesh, *trace_step(config, vocab_size, mesh))


def compile_step(config: Config, vocab_size: int = VOCAB_SIZE) -> CompiledStep:
    """Traces and compiles the train step of a config."""
    mesh, structure, traced = trace(config, vocab_size)
    return compile_traced(config, mesh, structure, traced, hardware_flops(config, traced, vocab_size))


def compile_traced(
    config: Config, mesh: jax.sharding.Mesh, structure: StateSpec, traced: Any, flops: float
) -> CompiledStep:
    """Compiles a traced step. May run in a thread: compilers release Python's lock."""
    with jax.set_mesh(mesh):
        lowered = traced.lower()
    started = time.perf_counter()
    compiled = lowered.compile()
    seconds = time.perf_counter() - started
    return CompiledStep(config, structure, mesh, compiled, seconds, planned_bytes(compiled), flops)


def hardware_flops(config: Config, traced: Any, vocab_size: int = VOCAB_SIZE) -> float:
    """FLOPs of the matrix products in a traced step; fused attention kernels are opaque and are counted as XLA's."""
    if config.model.attention in ("xla", "rowwise"):
        return product_flops(traced.jaxpr)
    plain = dataclasses.replace(config, model=dataclasses.replace(config.model, attention="xla"))
    return product_flops(trace(plain, vocab_size)[2].jaxpr)


def random_batch(config: Config, vocab_size: int = VOCAB_SIZE, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns a global host batch of random clips, sentences and targets; every clip is valid, every phrase exists."""
    rng = np.random.default_rng(seed)
    batch: dict[str, np.ndarray] = {}
    for name, (shape, dtype) in batch_spec(config).items():
        if name == "video":
            batch[name] = rng.integers(0, 256, shape, dtype=dtype)
        elif name in ("text", "nouns", "sentences"):
            batch[name] = rng.integers(1, vocab_size, shape).astype(dtype)
            batch[name][..., shape[-1] * 3 // 4 :] = 0  # padding
        elif name == "features":
            batch[name] = rng.normal(size=shape).astype(dtype)
        elif name == "index":
            batch[name] = np.arange(shape[0], dtype=dtype)
        elif name == "target":
            batch[name] = rng.integers(0, max(len(config.model.head.classes), 1), shape).astype(dtype)
        elif name == "sentence_spans":
            batch[name] = np.sort(rng.random(shape), axis=-1).astype(dtype)
        else:
            batch[name] = np.ones(shape, dtype)
    if "text" in batch:
        batch["text_mask"] = batch["text"] != 0
    if config.task == "localization":
        rows = [_segments(rng, config) for _ in range(config.train.batch_size)]
        batch |= {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return batch


def _segments(rng: np.random.Generator, config: Config) -> dict[str, np.ndarray]:
    """Returns the targets of a video of 100 s with two random segments."""
    segments = np.sort(rng.uniform(0, 100, (2, 2)), axis=1)
    labels = rng.integers(0, max(len(config.model.head.classes), 1), 2).astype(np.int32)
    return localization_targets(segments, labels, 100.0, config.model.localization.num_steps)
