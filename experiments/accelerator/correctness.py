"""Part 2: attention kernels, contrastive losses and a training step of every config against references.

Errors are the largest difference over the largest magnitude of the reference. References: attention of XLA in float32
at the highest matmul precision; dense contrastive losses; the loss of the same step on a CPU in float32.
"""

import json
import os
import subprocess
import sys
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from experiments.accelerator.miniature import CONFIGS, SMOKE_CONFIGS
from experiments.accelerator.part import Part, run_part
from svilm_jax.config import MeshConfig
from svilm_jax.models.attention import attend
from svilm_jax.objectives.contrast import Pairing, info_nce, streamed_info_nce
from svilm_jax.objectives.spatial_grounding import clip_noun_scores, phrase_weights
from svilm_jax.parallel import Exchange, make_mesh

# Kernels of each platform; the error of `xla` in bfloat16 scales the bounds of the others.
KERNELS = {"cpu": ("xla", "rowwise"), "gpu": ("xla", "rowwise", "cudnn"), "tpu": ("xla", "splash")}
HALF_ONLY = ("cudnn",)
# (queries, keys): sentences, a grouping block, an odd length, and the video tower of S-ViLM-B.
SIZES = ((32, 32), (32, 3136), (77, 513), (3168, 3168))
ATTENTION_BOUND = {"float32": 1e-4, "bfloat16": 2e-2}
CONTRAST_BOUND = 1e-4
STEP_BOUND = {"float32": 1e-3, "bfloat16": 5e-2}  # relative difference of the loss


def run(part: Part) -> None:
    """Starts the CPU losses in another process, checks kernels and contrastive losses, then compares the losses."""
    platform = jax.default_backend()
    reference = None if platform == "cpu" else _start_losses(part, "cpu", ("float32",))
    attention(part, platform)
    contrasts(part)
    steps(part, platform, reference)


def attention(part: Part, platform: str) -> None:
    """Checks value and gradients of every kernel, with and without a mask."""
    sizes = ((7, 13),) if part.smoke else SIZES
    heads, depth = (2, 16) if part.smoke else (12, 64)
    for queries, keys in sizes:
        for masked in (False, True):
            arrays, mask, weights = _inputs(queries, keys, heads, depth, masked)
            with jax.default_matmul_precision("highest"):
                expected = _value_and_gradients("xla", arrays, mask, weights)
            for dtype in ("float32", "bfloat16"):
                xla_error = 0.0
                for kernel in KERNELS[platform]:
                    if dtype == "float32" and kernel in (*HALF_ONLY, "xla"):
                        continue
                    name = f"{kernel} {dtype} {queries}x{keys}{' masked' if masked else ''}"
                    with part.attempt(name):
                        cast = [x.astype(dtype) for x in arrays]
                        with jax.default_matmul_precision("highest" if dtype == "float32" else "default"):
                            actual = _value_and_gradients(kernel, cast, mask, weights)
                        value, gradient = error(actual[:1], expected[:1]), error(actual[1:], expected[1:])
                        worst = max(value, gradient)
                        xla_error = worst if kernel == "xla" else xla_error
                        bound = max(ATTENTION_BOUND[dtype], 2 * xla_error)
                        part.add("attention", kernel=name, value=value, gradient=gradient, bound=bound)
                        if not worst <= bound:
                            part.fail(name, f"error {worst:.2g}, bound {bound:.2g}")


def _inputs(queries: int, keys: int, heads: int, depth: int, masked: bool) -> tuple[list[jax.Array], Any, jax.Array]:
    rng = np.random.default_rng(queries + keys)
    shapes = [(2, length, heads, depth) for length in (queries, keys, keys)]
    arrays = [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]
    mask = rng.random((2, keys)) < 0.7
    mask[:, 0] = True
    weights = jnp.asarray(rng.normal(size=shapes[0]), jnp.float32)
    return arrays, jnp.asarray(mask) if masked else None, weights


def _value_and_gradients(kernel: str, arrays: list[jax.Array], mask: Any, weights: jax.Array) -> list[np.ndarray]:
    """Returns the output [B, N, H, d] and the gradients of its weighted sum."""

    def weighted(*arrays: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = attend(*arrays, mask=mask, implementation=kernel)
        return (out.astype(jnp.float32) * weights).sum(), out

    gradients, out = jax.jit(jax.grad(weighted, argnums=(0, 1, 2), has_aux=True))(*arrays)
    return [np.asarray(x, np.float32) for x in (out, *gradients)]


def error(actual: Any, expected: Any) -> float:
    """Returns the maximum over arrays of the largest difference over the largest magnitude; inf if not finite."""
    worst = 0.0
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        worst = max(worst, float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)) if np.isfinite(a).all() else np.inf)
    return worst


def contrasts(part: Part) -> None:
    """Checks the chunked global contrast and spatial grounding, gathered and in a ring, against the dense losses."""
    rows, width = (16, 8) if part.smoke else (256, 256)
    rng = np.random.default_rng(0)

    def unit(*shape: int) -> jax.Array:
        x = rng.normal(size=shape)
        return jnp.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True), jnp.float32)

    valid = jnp.asarray(rng.random(rows) < 0.9)
    shares = phrase_weights(jnp.asarray(rng.random((rows, 2)) < 0.8))

    def clips_and_captions(clips: Any, captions: Any) -> jax.Array:
        return 14.0 * jnp.einsum("ic,jc->ij", clips, captions, precision="highest")

    def groups_and_phrases(groups: Any, columns: Any) -> jax.Array:
        return clip_noun_scores(groups, *columns, 0.07) / 0.07

    cases = {
        "global": (clips_and_captions, unit(rows, width), unit(rows, width)),
        "grounding": (groups_and_phrases, unit(rows, 8, width), (unit(rows, 2, width), shares)),
    }
    with jax.set_mesh(make_mesh_of_all()):
        for name, (score, left, right) in cases.items():
            dense = _contrast(lambda *s, score=score: info_nce(score(*s), valid, valid), left, right)
            for exchange in get_args(Exchange):
                for chunk in (rows // 8 + 1,) if part.smoke else (rows // 8 + 1, rows):
                    with part.attempt(f"{name} {exchange} {chunk}"):
                        streamed = _contrast(
                            lambda *s, score=score, chunk=chunk, exchange=exchange: streamed_info_nce(
                                Pairing(score, *s, valid, valid), chunk, exchange
                            )[:2],
                            left,
                            right,
                        )
                        worst = error(streamed, dense)
                        part.add("contrasts", loss=name, exchange=exchange, chunk=chunk, error=worst)
                        if not worst <= CONTRAST_BOUND:
                            part.fail(f"{name} {exchange} {chunk}", f"error {worst:.2g}, bound {CONTRAST_BOUND:.2g}")


def make_mesh_of_all() -> jax.sharding.Mesh:
    """Returns a mesh of all attached devices, with the batch sharded over all of them."""
    return make_mesh(MeshConfig())


def _contrast(loss: Any, left: Any, right: Any) -> Any:
    return jax.jit(jax.value_and_grad(lambda *s: sum(loss(*s)), argnums=(0, 1)))(left, right)


def steps(part: Part, platform: str, reference: subprocess.Popen | None) -> None:
    """Checks the losses of one step of every config against those on a CPU."""
    dtypes = ("float32",) if part.smoke else ("float32", "bfloat16")
    here = _start_losses(part, platform, dtypes)
    losses = _losses(part, here, platform)
    # On a CPU the reference is a second process, to test that results do not depend on the process.
    reference = reference or _start_losses(part, "cpu", ("float32",), "reference")
    expected = _losses(part, reference, "reference" if platform == "cpu" else "cpu")
    for name in SMOKE_CONFIGS if part.smoke else CONFIGS:
        for dtype in dtypes:
            key = f"{name} {dtype}"
            if key not in losses or f"{name} float32" not in expected:
                part.fail(key, "no loss: see the output above")
                continue
            loss, reference_loss = losses[key], expected[f"{name} float32"]
            difference = abs(loss["loss"] - reference_loss["loss"]) / max(abs(reference_loss["loss"]), 1e-6)
            part.add("steps", config=key, loss=loss["loss"], cpu=reference_loss["loss"], difference=difference)
            if not (np.isfinite(loss["loss"]) and np.isfinite(loss["gradient"]) and difference <= STEP_BOUND[dtype]):
                part.fail(
                    key, f"loss {loss['loss']}, {reference_loss['loss']} on a CPU, gradient norm {loss['gradient']}"
                )


def _start_losses(part: Part, platform: str, dtypes: tuple[str, ...], label: str = "") -> subprocess.Popen:
    file = part.scratch / f"losses_{label or platform}.json"
    file.unlink(missing_ok=True)
    configs = SMOKE_CONFIGS if part.smoke else CONFIGS
    command = [sys.executable, "-m", "experiments.accelerator.miniature", str(file), ",".join(dtypes), *configs]
    environment = {**os.environ, **({"JAX_PLATFORMS": "cpu"} if platform == "cpu" else {})}
    return subprocess.Popen(command, env=environment)


def _losses(part: Part, child: subprocess.Popen, label: str) -> dict[str, dict[str, float]]:
    try:
        child.wait(max(part.seconds_left, 1.0))
    except subprocess.TimeoutExpired:
        child.kill()
        part.fail(f"losses on {label}", "out of time")
    file = part.scratch / f"losses_{label}.json"
    return json.loads(file.read_text()) if file.is_file() else {}


if __name__ == "__main__":
    run_part(run)
