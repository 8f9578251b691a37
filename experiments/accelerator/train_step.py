"""Part 3: speed and memory of the full training step, compared with the same architecture in PyTorch.

S-ViLM-B, 32 frames of 224x224, bfloat16, full objective, SGD. MFU counts the matrix products of the method once,
relative to the matmul rate that part 1 measured on this device; HFU counts all computed products, including
rematerialization. The peer is PyTorch with `torch.compile`, flash attention, bfloat16 autocast and a fused optimizer,
in a separate process; at a batch size that fits for both at once the two take turns, at larger ones each has the device
to itself.
"""

import dataclasses
import gc
import statistics
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax

from experiments.accelerator.miniature import VOCAB_SIZE as MINIATURE_WORDS
from experiments.accelerator.miniature import miniature
from experiments.accelerator.part import Part, run_part
from experiments.accelerator.peer import Peer
from experiments.benchmarks.compiled_step import (
    VOCAB_SIZE,
    CompiledStep,
    compile_traced,
    hardware_flops,
    random_batch,
    trace,
)
from svilm_jax.cli.config_file import read_config
from svilm_jax.config import Config
from svilm_jax.models.svilm import compute_dtype
from svilm_jax.profiling.device_specs import matmul_rate

# (batch, remat, unrolled layers, 0 for all) by priority; the first one takes turns with the peer. The candidates of a
# round are compiled together.
ROUNDS = (
    ((16, "none", 1), (32, "none", 1), (32, "none", 0), (64, "full", 1)),
    ((64, "none", 1), (64, "none", 0), (64, "dots", 1), (128, "full", 1)),
    ((8, "none", 1), (128, "dots", 1), (256, "full", 1)),
)
PEER_BATCHES = (32, 48, 64)  # in addition to the first; limited by memory
STEPS = 8  # per turn
TURNS = 3
OTHERS = ("S", "L")  # if time is left
CONFIG = "configs/pretrain/svilm_b.py"


def run(part: Part) -> None:
    """Compiles in rounds, times the candidates that fit, in turns with the peer, then other model sizes."""
    rate = _rate(part)
    part.note(matmul_flops=rate, config=CONFIG, steps_per_turn=STEPS, turns=TURNS)
    peer = Peer()
    try:
        first = ROUNDS[0][0]
        if not part.smoke:
            peer.build(step_config(part.smoke, "B", *first))
        _measure(part, peer, rate)
    finally:
        peer.close()


def _measure(part: Part, peer: Peer, rate: float) -> None:
    rounds = (
        (((8, "full", 1),),) if part.smoke else ROUNDS
    )  # the miniature of part 2, which is in the compilation cache
    limit = device_memory()
    for number, candidates in enumerate(rounds):
        if number and part.seconds_left < 1.5 * _compiling(part):
            break
        for step in _compile(part, "B", candidates):
            if step.peak_bytes > limit:
                batch = step.config.train.batch_size
                part.add("too_large", batch=batch, remat=step.config.model.remat, planned_gib=step.peak_bytes / 2**30)
            elif not number and step.config.train.batch_size == candidates[0][0]:
                _in_turns(part, step, peer, rate)
            else:
                _alone(part, step, rate)
    if not part.smoke:
        _peer_alone(part, peer, rate)
        for variant in OTHERS:
            if part.seconds_left > 2 * _compiling(part):
                for step in _compile(part, variant, ((16, "none", 1) if variant == "S" else (32, "full", 1),)):
                    _alone(part, step, rate)


def step_config(smoke: bool, variant: str, batch: int, remat: str, unroll: int = 1) -> Config:
    """Returns the paper's config at a batch size, rematerialization policy and number of unrolled layers."""
    overrides = [f"--config.train.batch_size={batch}", f"--config.model.remat={remat}", "--config.train.steps=1000"]
    overrides.append(f"--config.model.scan_unroll={unroll}")
    config = read_config(f"{CONFIG}:variant={variant}", overrides)
    if smoke:
        config = dataclasses.replace(miniature(config, "float32"), train=dataclasses.replace(config.train, steps=10))
    return config


def words(smoke: bool) -> int:
    """Returns the vocabulary size of the steps."""
    return MINIATURE_WORDS if smoke else VOCAB_SIZE


def device_memory() -> float:
    """Returns the bytes that a process may allocate on the device; infinity if unknown."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("bytes_limit", float("inf"))


def _rate(part: Part) -> float:
    known = part.read("environment").get("matmul_flops_bfloat16")
    dtype = compute_dtype(step_config(part.smoke, "B", 8, "none").model)
    if known and dtype == "bfloat16":
        return known
    return matmul_rate(jax.local_devices()[0], dtype, 256 if part.smoke else 8192, 0.5)


def _compile(part: Part, variant: str, candidates: Any) -> list[CompiledStep]:
    """Compiles the candidates in parallel; returns them in their order."""
    vocab_size = words(part.smoke)
    flops: dict[str, float] = {}
    with ThreadPoolExecutor(len(candidates)) as pool:
        jobs = []
        for batch, remat, unroll in candidates:
            with part.attempt(f"trace {variant} {batch} {remat} {unroll}"):
                config = step_config(part.smoke, variant, batch, remat, unroll)
                mesh, structure, traced = trace(config, vocab_size)
                if remat not in flops:  # proportional to the batch
                    flops[remat] = hardware_flops(config, traced, vocab_size) / batch
                jobs.append(pool.submit(compile_traced, config, mesh, structure, traced, flops[remat] * batch))
        compiled = []
        for job in jobs:
            with part.attempt(f"compile {variant}"):
                compiled.append(job.result())
    for step in compiled:
        part.add(
            "compiled",
            variant=variant,
            batch=step.config.train.batch_size,
            remat=step.config.model.remat,
            unroll=step.config.model.scan_unroll,
            seconds=step.compile_seconds,
            planned_gib=step.peak_bytes / 2**30,
        )
    return compiled


def _compiling(part: Part) -> float:
    """Returns the seconds of the slowest compilation so far."""
    return max((row["seconds"] for row in part.rows("compiled")), default=30.0)


class _Runner:
    """A compiled step with its state and batch on the device."""

    def __init__(self, step: CompiledStep, smoke: bool):
        vocab_size = words(smoke)
        self.step, self.state = step, step.init_state(vocab_size)
        self.batch = step.place(random_batch(step.config, vocab_size))
        self.time(2)  # warm-up: loading and autotuning

    def time(self, steps: int) -> float:
        self.state, seconds = self.step.time(self.state, self.batch, steps)
        return seconds


def _alone(part: Part, step: CompiledStep, rate: float) -> None:
    with part.attempt(f"run batch {step.config.train.batch_size} {step.config.model.remat}"):
        runner = _Runner(step, part.smoke)
        seconds = statistics.median(runner.time(1 if part.smoke else STEPS) for _ in range(TURNS))
        _row(part, "svilm_jax", step, seconds, rate)
        del runner
    gc.collect()


def _in_turns(part: Part, step: CompiledStep, peer: Peer, rate: float) -> None:
    """Times both sides in turns; only this project without PyTorch."""
    if part.smoke:
        peer.build(step.config)
    reason = peer.wait(part.seconds_left)
    if reason:
        part.note(peer=reason)
        _alone(part, step, rate)
        return
    part.note(peer=peer.description)
    with part.attempt("turns with PyTorch"):
        runner = _Runner(step, part.smoke)
        steps, ours, theirs = 1 if part.smoke else STEPS, [], []
        for _ in range(TURNS):
            ours.append(runner.time(steps))
            theirs.append(peer.time(steps))
        _row(part, "svilm_jax", step, statistics.median(ours), rate)
        _row(part, "torch.compile", step, statistics.median(theirs), rate, peer)
        ratio = statistics.median(t / o for o, t in zip(ours, theirs, strict=True))
        part.note(ratio={"batch": step.config.train.batch_size, "at_same_batch": ratio, "ours": ours, "theirs": theirs})
        del runner
    gc.collect()
    peer.release()


def _peer_alone(part: Part, peer: Peer, rate: float) -> None:
    """Times the peer at larger batches; records the ratio of the best rates of both sides."""
    for batch in PEER_BATCHES:
        if peer.reason or part.seconds_left < 20 + peer.compile_seconds:
            break
        with part.attempt(f"PyTorch batch {batch}"):
            config = step_config(part.smoke, "B", batch, "none")
            peer.build(config)
            if peer.wait(part.seconds_left):
                part.add("peer_too_large", batch=batch, reason=peer.reason[-200:])
                break
            seconds = statistics.median(peer.time(STEPS) for _ in range(TURNS))
            step = CompiledStep(config, None, None, None, peer.compile_seconds, 0, 0.0)  # type: ignore[arg-type]
            _row(part, "torch.compile", step, seconds, rate, peer)
    best = {
        side: max((row["clips_per_second"] for row in part.rows("rows") if row["side"] == side), default=0.0)
        for side in ("svilm_jax", "torch.compile")
    }
    if all(best.values()) and part.value("ratio"):
        part.note(ratio={**part.value("ratio"), "best_of_each": best["svilm_jax"] / best["torch.compile"]})


def _row(part: Part, side: str, step: CompiledStep, seconds: float, rate: float, peer: Peer | None = None) -> None:
    batch, stats = step.config.train.batch_size, jax.local_devices()[0].memory_stats() or {}
    row: dict[str, Any] = {
        "side": side,
        "variant": step.config.model.variant,
        "batch": batch,
        "remat": "none" if peer else step.config.model.remat,
        "unroll": 0 if peer else step.config.model.scan_unroll,
        "seconds_per_step": seconds,
        "clips_per_second": batch / seconds,
        "model_tflops_per_second": step.model_flops / seconds / 1e12,
        "mfu": step.model_flops / seconds / rate / jax.device_count(),
        "compile_seconds": peer.compile_seconds if peer else step.compile_seconds,
        "peak_gib": (peer.peak_bytes if peer else step.peak_bytes) / 2**30,
    }
    if not peer:
        row |= {"hfu": step.hardware_flops / seconds / rate / jax.device_count()}
        row |= {"highest_allocated_gib": stats.get("peak_bytes_in_use", 0) / 2**30}
    part.add("rows", **row)


if __name__ == "__main__":
    run_part(run)
