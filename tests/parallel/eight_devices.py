"""Run with 8 forced CPU devices: loss, gradients and one step of every preset against a single device.

Prints one JSON line a preset: largest differences, how large the numbers are, and what is really sharded.
"""

import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

from svilm_jax.config import MeshConfig
from svilm_jax.objectives import build_objectives
from svilm_jax.parallel import check_replication, make_mesh, to_global_batch
from svilm_jax.training.optimizer import make_optimizer, make_schedule
from svilm_jax.training.state import init_state, make_structure
from svilm_jax.training.step import make_loss, make_step
from tests.tiny import tiny_config

VOCAB, BATCH = 96, 16
PRESETS = {
    "one": (MeshConfig("dp"), 1),
    "dp": (MeshConfig("dp"), 8),
    "fsdp": (MeshConfig("fsdp"), 8),
    "fsdp_tp": (MeshConfig("fsdp_tp", tensor=2), 8),
}


def make_batch():
    rng = np.random.default_rng(0)
    text, nouns = rng.integers(1, VOCAB, (BATCH, 28)), rng.integers(1, VOCAB, (BATCH, 2, 14))
    text[:, 20:], nouns[:, :, 9:] = 0, 0
    return {
        "video": rng.integers(0, 256, (BATCH, 8, 16, 16, 3), np.uint8),
        "text": text.astype(np.int32),
        "text_mask": text != 0,
        "nouns": nouns.astype(np.int32),
        "noun_mask": rng.random((BATCH, 2)) < 0.8,
        "valid": np.arange(BATCH) != 5,
        "index": np.arange(BATCH),
    }


def statistics_share(mesh_config, devices, name):
    """The part of an optimiser's statistics that one device holds."""
    config = tiny_config(width=64, **{"optimizer.name": name, "optimizer.muon_from": 0.5})
    mesh = make_mesh(mesh_config, jax.devices()[:devices])
    with jax.set_mesh(mesh):
        structure = make_structure(config, VOCAB, 0, make_optimizer(config.optimizer, 6), mesh)
    leaves = jax.tree.leaves(structure.shapes.optimizer)
    shardings = jax.tree.leaves(structure.shardings.optimizer)
    shapes = [s.shard_shape(leaf.shape) for leaf, s in zip(leaves, shardings, strict=True)]
    return sum(map(np.prod, shapes)) / sum(np.prod(leaf.shape) for leaf in leaves)


def run(mesh_config, devices):
    config = tiny_config(width=64)
    mesh = make_mesh(mesh_config, jax.devices()[:devices])
    optimizer = make_optimizer(config.optimizer, 6)
    with jax.set_mesh(mesh):
        structure = make_structure(config, VOCAB, 0, optimizer, mesh)
        state = init_state(config, VOCAB, optimizer, structure)
        share = check_replication(structure.shapes.params, structure.shardings.params, mesh, 1.0)
        held = max(
            sum(
                shard.data.nbytes
                for leaf in jax.tree.leaves(state.params)
                for shard in leaf.addressable_shards
                if shard.device == d
            )
            for d in mesh.devices.flat
        )
        objectives = build_objectives(config.objectives, config)
        batch = to_global_batch(make_batch(), mesh)
        loss = jax.jit(jax.value_and_grad(make_loss(config, structure, objectives), has_aux=True))
        (value, metrics), gradients = loss(state.params, batch, jax.random.key(7))
        step = make_step(config, structure, objectives, optimizer, make_schedule(config.optimizer, 6))
        schedule_step = dataclasses.replace(state, step=jnp.asarray(3, jnp.int32))  # past the warm-up's zero
        after, _ = step(schedule_step, batch)
        numpy = lambda tree: [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]  # noqa: E731
        losses = {name: float(metrics[name]) for name in metrics if name.startswith("loss/")}
        return losses, numpy(gradients), numpy(after.params), share, held


def main():
    reference = run(*PRESETS["one"])
    for name in ("dp", "fsdp", "fsdp_tp"):
        losses, gradients, params, share, held = run(*PRESETS[name])
        pairs = list(zip(gradients, reference[1], strict=True))
        print(
            json.dumps(
                {
                    "preset": name,
                    "loss": max(abs(losses[k] - reference[0][k]) for k in losses),
                    "gradient": float(max(np.abs(a - b).max() for a, b in pairs)),
                    "gradient_size": float(max(np.abs(b).max() for _, b in pairs)),
                    "params": float(max(np.abs(a - b).max() for a, b in zip(params, reference[2], strict=True))),
                    "replicated_share": share,
                    "bytes_share": held / reference[4],
                    "statistics_share": {kind: statistics_share(*PRESETS[name], kind) for kind in ("adamw", "muon")},
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    assert jax.device_count() == 8, "set XLA_FLAGS=--xla_force_host_platform_device_count=8"
    sys.exit(main())
