"""Benchmark of the pairwise losses: memory and time of their three implementations, on 8 devices.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 \\
        python experiments/benchmarks/contrast.py --out experiments/results/contrast.json

Value and gradient of the global contrast (C=256) and of spatial grounding (M=32 groups, K=2 phrases), where `dense`
materializes the scores of all pairs, and `gather` and `ring` process them in chunks
(svilm_jax/parallel/chunked_contrastive.py). Memory is the compiler's figure for temporary buffers per device; programs
of that size are compiled but not run. Times are for batches that fit, the median over interleaved repeats. On devices
that are forced on one CPU they only reflect the cost of arithmetic: there is no network between them.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from svilm_jax.config import MeshConfig
from svilm_jax.objectives.contrast import Pairing, info_nce, streamed_info_nce
from svilm_jax.objectives.spatial_grounding import clip_noun_scores
from svilm_jax.parallel import batch_sharding, make_mesh

GROUPS, PHRASES, WIDTH, TEMPERATURE = 32, 2, 256, 0.07
CHUNKS = {"global": 1024, "grounding": 64}  # the defaults of the objectives
FORMS = ("dense", "gather", "ring")


def main() -> None:
    """Measures, prints the table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="also write the rows to this JSON file")
    parser.add_argument(
        "--batch", type=int, nargs="*", default=[4096, 8192, 16384, 32768], help="batch sizes for memory"
    )
    parser.add_argument("--timed", type=int, nargs="*", default=[512, 1024], help="batch sizes for time, which are run")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    mesh = make_mesh(MeshConfig("fsdp"))
    with jax.set_mesh(mesh):
        for loss in CHUNKS:
            for batch in args.batch:
                for form in FORMS:
                    used = memory(loss, form, batch, mesh)
                    rows.append({"loss": loss, "form": form, "batch": batch, "temporary_bytes": used})
                    print(f"{loss:<10} {form:<7} batch {batch:>6}  {used / 2**20:10.1f} MiB per device", flush=True)
            for batch in args.timed:
                for form, seconds in times(loss, batch, args.repeats, mesh).items():
                    rows.append({"loss": loss, "form": form, "batch": batch, "seconds": round(seconds, 4)})
                    print(f"{loss:<10} {form:<7} batch {batch:>6}  {seconds:10.3f} s", flush=True)
    if args.out:
        devices = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
        args.out.write_text(json.dumps({"devices": devices, "jax": jax.__version__, "rows": rows}, indent=1) + "\n")


def memory(loss: str, form: str, batch: int, mesh: jax.sharding.Mesh) -> int:
    """Returns the temporary bytes per device of the compiled value and gradient."""
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32, sharding=batch_sharding(mesh)) for s in _shapes(loss, batch)]
    return int(_gradient(loss, form).lower(*shapes).compile().memory_analysis().temp_size_in_bytes)


def times(loss: str, batch: int, repeats: int, mesh: jax.sharding.Mesh) -> dict[str, float]:
    """Returns form -> median seconds of value and gradient; forms take turns."""
    keys = jax.random.split(jax.random.key(0), 2)
    arrays = [
        jax.device_put(jax.random.normal(key, shape) / shape[-1] ** 0.5, batch_sharding(mesh))
        for key, shape in zip(keys, _shapes(loss, batch), strict=True)
    ]
    compiled = {form: _gradient(loss, form).lower(*arrays).compile() for form in FORMS}
    seconds: dict[str, list[float]] = {form: [] for form in FORMS}
    for repeat in range(repeats + 1):
        for form, run in compiled.items():
            start = time.perf_counter()
            jax.block_until_ready(run(*arrays))
            if repeat:  # the first warms up
                seconds[form].append(time.perf_counter() - start)
    return {form: statistics.median(values) for form, values in seconds.items()}


def _shapes(loss: str, batch: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if loss == "global":
        return (batch, WIDTH), (batch, WIDTH)
    return (batch, GROUPS, WIDTH), (batch, PHRASES, WIDTH)


def _gradient(loss: str, form: str) -> Any:
    """Returns the jitted function (clips or groups, captions or phrases) -> the loss and its gradients."""

    def score(rows: Any, columns: Any) -> jax.Array:
        if loss == "global":
            return jnp.einsum("ic,jc->ij", rows, columns) / TEMPERATURE
        shares = jnp.full(columns.shape[:2], 1 / PHRASES)
        return clip_noun_scores(rows, columns, shares, TEMPERATURE) / TEMPERATURE

    def value(rows: jax.Array, columns: jax.Array) -> jax.Array:
        exists = jnp.ones(len(rows), bool)
        if form == "dense":
            return sum(info_nce(score(rows, columns), exists, exists), jnp.zeros(()))
        pairing = Pairing(score, rows, columns, exists, exists)
        across, down, _ = streamed_info_nce(pairing, CHUNKS[loss], form)
        return across + down

    function: Callable[..., Any] = jax.value_and_grad(value, argnums=(0, 1))
    return jax.jit(function)


if __name__ == "__main__":
    main()
