"""Script run with 8 forced CPU devices: loss, gradients and one step of every preset against a single device.

Prints one JSON line per preset and kind of training: differences, magnitudes, and the arrays that are sharded.
Usage: python -m tests.parallel.eight_devices [KIND ...]
"""

import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

from svilm_jax.checkpoints.train_state import init_state, make_state_spec
from svilm_jax.config import MeshConfig
from svilm_jax.input.segments import localization_targets
from svilm_jax.objectives import build_objectives
from svilm_jax.parallel import check_replication, make_mesh, to_global_batch
from svilm_jax.training.accumulation import make_gradient
from svilm_jax.training.optimizer import make_optimizer, make_schedule
from svilm_jax.training.step import make_step
from tests.tiny import tiny_config

VOCAB, BATCH, STEPS = 96, 16, 8
ANSWERS = tuple("abcdefghij")
PRESETS = {
    "one": (MeshConfig("dp"), 1),
    "dp": (MeshConfig("dp"), 8),
    "fsdp": (MeshConfig("fsdp"), 8),
    "fsdp_tp": (MeshConfig("fsdp_tp", tensor=2), 8),
    "fsdp_seq": (MeshConfig("fsdp_seq", seq=2), 8),
    "slices": (MeshConfig("fsdp", num_slices=2), 8),
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


def make_questions():
    """Questions about clips with three sentences each, of which some have no times; splices; rows without an answer."""
    rng = np.random.default_rng(1)
    sentences, count = rng.integers(1, VOCAB, (BATCH, 3, 28)), rng.integers(0, 4, BATCH)
    mask = np.arange(3) < count[:, None]
    sentences[..., 12:], sentences[~mask] = 0, 0
    edges = np.sort(rng.random((BATCH, 3, 2)), axis=-1)
    edges[::3] = -1
    batch = {name: array for name, array in make_batch().items() if not name.startswith("noun")}
    return batch | {
        "target": rng.integers(-1, len(ANSWERS), BATCH).astype(np.int32),
        "sentences": sentences.astype(np.int32),
        "sentence_mask": mask & batch["valid"][:, None],
        "sentence_spans": edges.astype(np.float32),
    }


def make_features():
    """One video a device."""
    rng = np.random.default_rng(2)
    times = np.sort(rng.random((8, 2, 2)), axis=-1) * 16
    each = [localization_targets(video, rng.integers(0, 3, 2), 16.0, STEPS) for video in times]
    return {
        "features": rng.normal(size=(8, STEPS, 12)).astype(np.float32),
        **{name: np.stack([targets[name] for targets in each]) for name in each[0]},
        "valid": np.arange(8) != 3,
        "index": np.arange(8),
    }


def pretraining():
    return tiny_config(width=64), make_batch()


def gradcache():
    """The loss of pre-training in two parts: the same loss and the same gradients."""
    return tiny_config(width=64, **{"train.microbatches": 2}), make_batch()


def questions():
    fields = {"task": "question_answering", "model.head.classes": ANSWERS, "model.head.num_layers": 1}
    fields |= {"input.num_sentences": 3}
    config = tiny_config(width=64, **fields, **{"model.video.num_layers": 1, "model.grouping.after_layers": (1,)})
    table = {"classification": {"label_smoothing": 0.1}, "multilevel_alignment": {}}
    return dataclasses.replace(config, objectives=table), make_questions()


def localization():
    sizes = {"feature_dim": 12, "num_steps": STEPS, "hidden_size": 32, "num_samples": 4, "num_context_samples": 2}
    fields = {f"model.localization.{name}": size for name, size in sizes.items()}
    config = tiny_config(task="localization", **fields, **{"model.head.classes": ("a", "b", "c")})
    return dataclasses.replace(config, objectives={"localization": {}}), make_features()


# kind: (config and batch, presets). Each preset costs the compilation of a gradient.
KINDS = {
    "pretraining": (pretraining, ("dp", "fsdp", "fsdp_tp", "fsdp_seq", "slices")),
    "gradcache": (gradcache, ("fsdp_seq",)),
    "questions": (questions, ("fsdp_tp",)),
    "localization": (localization, ("dp",)),
}
STEPPED = {("pretraining", "one"), ("pretraining", "fsdp_tp")}  # one update per optimizer is enough: compiling is slow


def statistics_fraction(mesh_config, devices, name):
    """The part of an optimizer's statistics that one device holds."""
    config = tiny_config(width=64, **{"optimizer.name": name, "optimizer.muon_start_fraction": 0.5})
    mesh = make_mesh(mesh_config, jax.devices()[:devices])
    with jax.set_mesh(mesh):
        structure = make_state_spec(config, VOCAB, 0, make_optimizer(config.optimizer, 6), mesh)
    leaves = jax.tree.leaves(structure.shapes.optimizer)
    shardings = jax.tree.leaves(structure.shardings.optimizer)
    shapes = [s.shard_shape(leaf.shape) for leaf, s in zip(leaves, shardings, strict=True)]
    return sum(map(np.prod, shapes)) / sum(np.prod(leaf.shape) for leaf in leaves)


def run(kind, preset):
    mesh_config, devices = PRESETS[preset]
    config, batch = KINDS[kind][0]()
    mesh = make_mesh(mesh_config, jax.devices()[:devices])
    optimizer = make_optimizer(config.optimizer, 6)
    with jax.set_mesh(mesh):
        structure = make_state_spec(config, VOCAB, 0, optimizer, mesh)
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
        batch = to_global_batch(batch, mesh)
        gradient = jax.jit(make_gradient(config, structure, objectives))
        metrics, gradients = gradient(state.params, batch, jax.random.key(7))
        numpy = lambda tree: [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]  # noqa: E731
        losses = {name: float(metrics[name]) for name in metrics if name.startswith("loss/")}
        gradients, after = numpy(gradients), []
        if (kind, preset) in STEPPED:
            step = make_step(config, structure, objectives, optimizer, make_schedule(config.optimizer, 6))
            schedule_step = dataclasses.replace(state, step=jnp.asarray(3, jnp.int32))  # past the warm-up's zero
            after = numpy(step(schedule_step, batch)[0].params)
        return losses, gradients, after, share, held


def compare(got, reference):
    """What is printed of a run on 8 devices."""
    losses, gradients, params, share, held = got
    pairs = list(zip(gradients, reference[1], strict=True))
    moved = [np.abs(a - b).ravel() for a, b in zip(params, reference[2], strict=bool(params))] if params else []
    return {
        "losses": losses,
        "loss": max(abs(losses[k] - reference[0][k]) for k in losses),
        "gradient": float(max(np.abs(a - b).max() for a, b in pairs)),
        "gradient_size": float(max(np.abs(b).max() for _, b in pairs)),
        # The mean: Adam makes a whole step of a gradient that is nothing but rounding.
        "params": float(np.concatenate(moved).mean()) if moved else 0.0,
        "replicated_fraction": share,
        "bytes_fraction": held / reference[4],
    }


def main(kinds):
    jax.config.update("jax_disable_most_optimizations", True)  # compiling is what takes the time here
    references = {}
    for kind in kinds:
        # GradCache is compared with the whole batch in one pass.
        basis = "pretraining" if kind == "gradcache" else kind
        if basis not in references:
            references[basis] = run(basis, "one")
        for name in KINDS[kind][1]:
            row = {"kind": kind, "preset": name, **compare(run(kind, name), references[basis])}
            if kind == "pretraining":
                shares = {optimizer: statistics_fraction(*PRESETS[name], optimizer) for optimizer in ("adamw", "muon")}
                row["statistics_fraction"] = shares
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    assert jax.device_count() == 8, "set XLA_FLAGS=--xla_force_host_platform_device_count=8"
    sys.exit(main(sys.argv[1:] or list(KINDS)))
