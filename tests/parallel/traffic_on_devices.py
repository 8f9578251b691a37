"""Script run with 8 forced CPU devices: one small program per kind of collective, and the counter's result."""

import json

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from svilm_jax.config import MeshConfig
from svilm_jax.parallel import make_mesh
from svilm_jax.profiling.hlo_traffic import collective_bytes

ROWS, WIDTH = 64, 32  # float32, of all devices
WHOLE = ROWS * WIDTH * 4
RING = [(i, (i + 1) % 8) for i in range(8)]


def looped(x):
    return jax.lax.fori_loop(0, 7, lambda _, y: jax.lax.ppermute(y, "fsdp", RING) * 2, x)


# name: (function on a device's rows, what a device sends)
PROGRAMS = {
    "all-gather": (lambda x: jax.lax.all_gather(x, "fsdp", tiled=True).sum() * x, WHOLE * 7 / 8),
    "reduce-scatter": (
        lambda x: jax.lax.psum_scatter(jnp.tile(x, (8, 1)) * jnp.arange(ROWS)[:, None], "fsdp", tiled=True),
        WHOLE * 7 / 8,
    ),
    "all-reduce": (lambda x: jax.lax.psum(x, "fsdp") + x, 2 * WHOLE / 8 * 7 / 8),
    "all-to-all": (lambda x: jax.lax.all_to_all(x, "fsdp", 0, 0, tiled=True), WHOLE / 8 * 7 / 8),
    "collective-permute": (lambda x: jax.lax.ppermute(x, "fsdp", RING), WHOLE / 8),
    "loop": (looped, 7 * WHOLE / 8),
}


def main():
    mesh = make_mesh(MeshConfig("fsdp"))
    rows = PartitionSpec("fsdp")
    for name, (function, expected) in PROGRAMS.items():
        with jax.set_mesh(mesh):
            mapped = jax.jit(jax.shard_map(function, in_specs=rows, out_specs=rows, check_vma=False))
            text = mapped.lower(jax.ShapeDtypeStruct((ROWS, WIDTH), jnp.float32)).compile().as_text()
        print(json.dumps({"name": name, "counted": sum(collective_bytes(text).values()), "expected": expected}))


if __name__ == "__main__":
    main()
