"""Script run with 8 forced CPU devices: a state saved on one mesh and restored on others, one JSON line each."""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from svilm_jax.checkpoints.manager import Checkpoints
from svilm_jax.checkpoints.metadata import FORMAT_VERSION
from svilm_jax.checkpoints.train_state import make_state_spec
from svilm_jax.config import MeshConfig
from svilm_jax.parallel import make_mesh
from svilm_jax.training.optimizer import make_optimizer
from tests.tiny import tiny_config

VOCAB = 96
MESHES = {
    "fsdp": (MeshConfig("fsdp"), 8),
    "dp": (MeshConfig("dp"), 8),
    "fsdp_tp": (MeshConfig("fsdp_tp", tensor=2), 8),
    "fsdp_seq": (MeshConfig("fsdp_seq", seq=2), 8),
    "slices": (MeshConfig("fsdp", num_slices=2), 8),
    "four": (MeshConfig("fsdp"), 4),
    "one": (MeshConfig("dp"), 1),
}
SAVED = ("fsdp", "one")


def structure_on(name, config):
    mesh_config, devices = MESHES[name]
    mesh = make_mesh(mesh_config, jax.devices()[:devices])
    with jax.set_mesh(mesh):
        return make_state_spec(config, VOCAB, 0, make_optimizer(config.optimizer, 10), mesh)


def random_state(structure):
    """Any bits whatever, NaNs among them."""
    rng = np.random.default_rng(0)

    def fill(shape, sharding):
        bits = rng.integers(0, 2**32, shape.shape, np.uint32)
        return jax.device_put(bits.view(np.dtype(shape.dtype)), sharding)

    return jax.tree.map(fill, structure.shapes, structure.shardings)


def bits(state):
    return [np.asarray(leaf).view(np.uint32) for leaf in jax.tree.leaves(state)]


def main(folder):
    config = tiny_config(width=64, **{"optimizer.ema_decay": 0.9})
    structures = {name: structure_on(name, config) for name in MESHES}
    for saved in SAVED:
        state = random_state(structures[saved])
        checkpoints = Checkpoints(Path(folder) / saved, 1)
        checkpoints.save(3, state, {"step": 3}, {"format_version": FORMAT_VERSION})
        checkpoints.wait()
        expected = bits(state)
        for name, structure in structures.items():
            step, restored = checkpoints.restore_newest(structure, lambda meta: None)
            same = all(np.array_equal(a, b) for a, b in zip(bits(restored), expected, strict=True))
            placed = all(
                jnp.shape(leaf) == () or leaf.sharding.is_equivalent_to(wanted, leaf.ndim)
                for leaf, wanted in zip(jax.tree.leaves(restored), jax.tree.leaves(structure.shardings), strict=True)
            )
            row = {"saved": saved, "restored": name, "step": int(step), "same_bits": same, "placed": placed}
            print(json.dumps({**row, "arrays": len(expected)}), flush=True)
        checkpoints.close()


if __name__ == "__main__":
    main(sys.argv[1])
