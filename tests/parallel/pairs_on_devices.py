"""Script run with 8 forced CPU devices: chunked pairwise losses against the dense forms, and their memory.

Prints one JSON line per case: deviation of value and gradients from the dense form, or temporary bytes per device.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

from svilm_jax.config import MeshConfig
from svilm_jax.objectives import GlobalContrast, SpatialGrounding
from svilm_jax.objectives.contrast import info_nce
from svilm_jax.objectives.spatial_grounding import clip_noun_scores, phrase_weights
from svilm_jax.parallel import batch_sharding, make_mesh, to_global_batch
from tests.objectives.conftest import random_outputs

BATCH, GROUPS, PHRASES, WIDTH = 24, 5, 3, 8
MESHES = {
    "fsdp": MeshConfig("fsdp"),
    "slices": MeshConfig("fsdp", num_slices=2),
    "tensor": MeshConfig("fsdp_tp", tensor=2),
    "seq": MeshConfig("fsdp_seq", seq=2),
}
# Of the three captions a device has on 8: each alone, an uneven cut, and more than all 24.
CHUNKS = (1, 2, 64)


def dense(name, arrays):
    """The losses as the formulas stand, all scores held."""
    video, text, groups, nouns, noun_mask, valid = arrays
    if name == "sigmoid":
        signs = 2 * jnp.eye(len(valid)) - 1
        losses = jnp.where(valid[:, None] & valid[None], jax.nn.softplus(-signs * (10 * video @ text.T - 3.0)), 0)
        return losses.sum() / valid.sum()
    if name == "infonce":
        return sum(info_nce(10 * video @ text.T, valid, valid)) / 2
    exists = valid & noun_mask.any(axis=1)
    return sum(info_nce(clip_noun_scores(groups, nouns, phrase_weights(noun_mask), 0.2) / 0.1, exists, exists)) / 2


def streamed(name, arrays, chunk, exchange):
    """The same by the objectives."""
    video, text, groups, nouns, noun_mask, valid = arrays
    outputs = random_outputs(video, text, groups, nouns, 10.0)
    batch = {"valid": valid, "noun_mask": noun_mask}
    if name == "grounding":
        objective = SpatialGrounding(temperature=0.2, contrast_temperature=0.1, chunk=chunk, exchange=exchange)
    else:
        objective = GlobalContrast(kind=name, bias=-3.0, chunk=chunk, exchange=exchange)
    return objective(outputs, batch, jax.random.key(0))[0]


def unit(rng, *shape):
    x = rng.normal(size=shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def farthest(got, reference):
    """Of value and gradients, as a share of the largest entry of each."""
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(reference), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(b)).max()) for a, b in pairs)


def parity():
    rng = np.random.default_rng(0)
    arrays = {
        "video": unit(rng, BATCH, WIDTH),
        "text": unit(rng, BATCH, WIDTH),
        "groups": unit(rng, BATCH, GROUPS, WIDTH),
        "nouns": unit(rng, BATCH, PHRASES, WIDTH),
        "noun_mask": rng.random((BATCH, PHRASES)) < 0.5,
        "valid": rng.random(BATCH) < 0.8,
    }
    for name, read in (("infonce", (0, 1)), ("sigmoid", (0, 1)), ("grounding", (2, 3))):
        whole = jax.jit(jax.value_and_grad(lambda *a, name=name: dense(name, a), argnums=read))(*arrays.values())
        for mesh_name, mesh_config in MESHES.items():
            mesh = make_mesh(mesh_config)
            with jax.set_mesh(mesh):
                placed = to_global_batch(arrays, mesh).values()
                for chunk in CHUNKS if mesh_name in ("fsdp", "slices") else CHUNKS[1:2]:
                    for exchange in ("gather", "ring"):
                        function = lambda *a, n=name, c=chunk, e=exchange: streamed(n, a, c, e)  # noqa: E731
                        got = jax.jit(jax.value_and_grad(function, argnums=read))(*placed)
                        case = {"loss": name, "mesh": mesh_name, "chunk": chunk, "exchange": exchange}
                        yield {**case, "difference": farthest(got, whole)}


def memory():
    mesh = make_mesh(MeshConfig("fsdp"))
    for batch in (16384, 32768):
        shapes = ((batch, 256), (batch, 256), (batch, 32, 256), (batch, 2, 256))
        floats = [jax.ShapeDtypeStruct(s, jnp.float32, sharding=batch_sharding(mesh)) for s in shapes]
        masks = [jax.ShapeDtypeStruct(s, bool, sharding=batch_sharding(mesh)) for s in ((batch, 2), (batch,))]
        for name, read in (("infonce", (0, 1)), ("grounding", (2, 3))):
            for form in ("dense", "gather", "ring"):
                chunk = 1024 if name == "infonce" else 64
                functions = {
                    form: lambda *a, n=name, c=chunk, f=form: streamed(n, a, c, f),
                    "dense": lambda *a, n=name: dense(n, a),
                }
                with jax.set_mesh(mesh):
                    value = jax.jit(jax.value_and_grad(functions[form], argnums=read))
                    compiled = value.lower(*floats, *masks).compile()
                used = compiled.memory_analysis().temp_size_in_bytes
                yield {"loss": name, "form": form, "batch": batch, "bytes": used}


if __name__ == "__main__":
    assert jax.device_count() == 8, "set XLA_FLAGS=--xla_force_host_platform_device_count=8"
    for row in {"parity": parity, "memory": memory}[sys.argv[1]]():
        print(json.dumps(row), flush=True)
