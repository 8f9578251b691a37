"""Import of Flax weights into the video tower: big_vision ViT (*.npz) and scenic ViViT (msgpack)."""

import functools
import math
import re
from collections.abc import Mapping

import numpy as np

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.interop.importers.pixels import halves
from svilm_jax.interop.importers.rules import (
    Converted,
    Rule,
    convert,
    dropped,
    flat,
    flat_in,
    flat_out,
    layers_in,
    renamed,
    rule,
    squeezed,
)
from svilm_jax.interop.importers.source import Architecture, VideoSource, mlp_ratio, split_class_token

_LAYER = "Transformer/encoderblock_{i}"
_SCANNED = "Transformer/encoderblock/"
_KERNEL = "embedding/kernel"
_POSITIONS = "pos_embedding"
_WITH_CLASS_POSITION = "Transformer/posembed_input/pos_embedding"

# Path components above a tower in a larger tree: of training states, of two towers.
_WAY = {"params", "img", "optimizer", "target", "model_params"}
# Siblings of the tower in such a tree.
_OTHER_TOWERS = {
    "txt": "the text tower of the source",
    "t": "the temperature of the source's own contrast",
    "b": "the bias of the source's own contrast",
    **dict.fromkeys(("optimizer", "opt", "opt_state"), "the state of the optimizer"),
    **dict.fromkeys(("global_step", "step", "chrono", "rng", "metadata", "model_state"), "the state of the training"),
}
# Names of modules that attend over time and space separately.
_FACTORISED = re.compile(r"SpatialTransformer|TemporalTransformer|_(time|space|temporal|spatial)(/|$)")
# Flax used to number all modules of a layer together, and now numbers them by class.
_NUMBERS_BEFORE = {
    "MultiHeadDotProductAttention_1": "MultiHeadDotProductAttention_0",
    "LayerNorm_2": "LayerNorm_1",
    "MlpBlock_3": "MlpBlock_0",
}


def _dense(source: str, target: str) -> list[Rule]:
    return [rule(f"{source}/kernel", f"{target}.kernel"), rule(f"{source}/bias", f"{target}.bias")]


def _norm(source: str, target: str) -> list[Rule]:
    return [rule(f"{source}/scale", f"{target}.scale"), rule(f"{source}/bias", f"{target}.bias")]


def _projection(part: str) -> list[Rule]:
    source = f"{_LAYER}/MultiHeadDotProductAttention_0/{part}"
    target = f"layers.{{i}}.attention.{part}"
    kernel, bias = (flat_out, flat) if part == "out" else (flat_in, flat)
    return [rule(f"{source}/kernel", f"{target}.kernel", kernel), rule(f"{source}/bias", f"{target}.bias", bias)]


RULES: list[Rule] = [
    rule("embedding/bias", "patch.bias"),
    *_norm(f"{_LAYER}/LayerNorm_0", "layers.{i}.attention_norm"),
    *(one for part in ("query", "key", "value", "out") for one in _projection(part)),
    *_norm(f"{_LAYER}/LayerNorm_1", "layers.{i}.mlp_norm"),
    *_dense(f"{_LAYER}/MlpBlock_0/Dense_0", "layers.{i}.mlp.up"),
    *_dense(f"{_LAYER}/MlpBlock_0/Dense_1", "layers.{i}.mlp.down"),
    *_norm("Transformer/encoder_norm", "norm"),
    dropped("head/*", "the classes of its own training, or the space of its own contrast"),
    dropped("pre_logits/*", "of the classes of its own training"),
    dropped("MAPHead_0/*", "attention that pools for its own head; tokens go directly to the projection"),
    dropped("output_projection/*", "the classes of its own training"),
]


def read_flax_vit(arrays: Mapping[str, object], origin: str) -> VideoSource:
    """Reads the video tower of a ViT or ViViT with joint space-time attention, with Flax's array names.

    Depth, width and heads follow from the arrays; the activation is Flax's gelu (tanh approximation), and norms have
    its epsilon of 1e-6.

    Args:
      arrays: path of an array, joined by slashes -> the array; values outside the tower may be anything.
      origin: name of the source in errors.

    Raises:
      ModelDirectoryError: no such model, or factorized attention; the message lists the arrays.
    """
    factorized = [name for name in arrays if _FACTORISED.search(name)]
    if factorized:
        raise ModelDirectoryError(
            f"{origin}: has factorized space-time attention ({factorized[0]}), and this tower attends over "
            'both at once: take a ViViT of attention "spacetime"'
        )
    tower, other_towers = _tower_of(arrays, origin)
    kernel = tower[_KERNEL]
    if kernel.ndim not in (4, 5):
        raise ModelDirectoryError(
            f"{origin}: {_KERNEL} {kernel.shape}: expected [p, p, 3, D], or [t, p, p, 3, D] of a video"
        )
    layers = layers_in(tower, r"Transformer/encoderblock_(\d+)/")
    rules = [*RULES, rule(_KERNEL, "patch.kernel", lambda x: x if x.ndim == 5 else x[None]), *_rules_of_tokens(tower)]
    converted = convert(tower, rules, layers, origin)
    width = kernel.shape[-1]
    if _WITH_CLASS_POSITION in tower and "cls" in tower:
        split_class_token(converted)
    converted.dropped.update(other_towers)
    return VideoSource(
        origin=origin,
        architecture=_architecture(tower, converted, layers, origin),
        converted=converted,
        grid=None if kernel.ndim == 5 else _square(converted, origin),
        pixels=halves("vivit" if kernel.ndim == 5 else "big_vision"),
        computed=None if "positions" in converted.arrays else functools.partial(plane_sinusoids, width=width),
    )


def plane_sinusoids(rows: int, columns: int, width: int) -> np.ndarray:
    """Returns float32 [rows*columns, width]: the positions of ViTs without a table (arXiv 2205.01580; also MoCo v3).

    A quarter of the width each: sine and cosine of the column, sine and cosine of the row, at frequencies from 1 down
    to 1/10,000.

    Raises:
      ModelDirectoryError: a width that is not divisible into such quarters.
    """
    if width % 4 or width < 8:
        raise ModelDirectoryError(
            f"width {width}: positions of sines and cosines in a plane need a multiple of 4, from 8 on"
        )
    frequencies = 10000.0 ** -(np.arange(width // 4) / (width // 4 - 1))
    y, x = (place.reshape(-1, 1) * frequencies for place in np.mgrid[:rows, :columns])  # [rows*columns, width/4]
    return np.concatenate([np.sin(x), np.cos(x), np.sin(y), np.cos(y)], axis=1).astype(np.float32)


def _tower_of(arrays: Mapping[str, object], origin: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns the arrays of the tower under their plain names, and why the others are not used."""
    starts = [
        name.removesuffix(_KERNEL)
        for name in arrays
        if name.endswith(_KERNEL) and _WAY.issuperset(name.split("/")[:-2])
    ]
    if len(starts) != 1:
        raise ModelDirectoryError(
            f"{origin}: expected one {_KERNEL} of a ViT, found {len(starts)}; there are {', '.join(list(arrays)[:6])}"
        )
    (start,) = starts
    tower: dict[str, np.ndarray] = {}
    other_towers: dict[str, str] = {}
    for name, array in arrays.items():
        if name.startswith(start):
            if not isinstance(array, np.ndarray):
                raise ModelDirectoryError(f"{origin}: {name}: expected an array, found {type(array).__name__}")
            tower[name.removeprefix(start)] = array
            continue
        parts = [part for part in name.split("/") if part not in _WAY or part == "optimizer"]
        if parts[0] not in _OTHER_TOWERS:
            raise ModelDirectoryError(f"{origin}: {name}: not part of the tower {start!r}, and unknown")
        other_towers[name] = _OTHER_TOWERS[parts[0]]
    numbered = re.compile(f"({'|'.join(_NUMBERS_BEFORE)})(?=/)")
    tower = _unstacked(tower)
    return renamed(tower, lambda name: numbered.sub(lambda m: _NUMBERS_BEFORE[m[0]], name)), other_towers


def _unstacked(tower: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Splits layers stacked by a scan, `encoderblock/NAME` [layers, ...], into numbered ones."""
    made: dict[str, np.ndarray] = {}
    for name, array in tower.items():
        if name.startswith(_SCANNED):
            part = name.removeprefix(_SCANNED)
            made |= {f"{_LAYER.format(i=i)}/{part}": layer for i, layer in enumerate(array)}
        else:
            made[name] = array
    return made


def _rules_of_tokens(tower: Mapping[str, np.ndarray]) -> list[Rule]:
    """Returns the rules of the class token and of the positions, if the tower has them."""
    rules = [rule("cls", "class_token", flat)] if "cls" in tower else []
    if _WITH_CLASS_POSITION in tower:
        return [*rules, rule(_WITH_CLASS_POSITION, "positions", squeezed)]
    if _POSITIONS in tower or tower[_KERNEL].ndim == 5:  # only images are known to do without a table
        return [*rules, rule(_POSITIONS, "positions", squeezed)]
    return rules


def _square(converted: Converted, origin: str) -> tuple[int, int, int] | None:
    """Returns the grid of an image model's positions, inferred from their number."""
    if "positions" not in converted.arrays:
        return None
    places = len(converted.arrays["positions"])
    side = math.isqrt(places)
    if side * side != places:
        raise ModelDirectoryError(f"{origin}: {places} positions do not form a square of patches")
    return 1, side, side


def _architecture(tower: Mapping[str, np.ndarray], converted: Converted, layers: int, origin: str) -> Architecture:
    query = tower.get(f"{_LAYER.format(i=0)}/MultiHeadDotProductAttention_0/query/kernel")
    if query is None or query.ndim != 3:
        raise ModelDirectoryError(f"{origin}: has no layer whose query/kernel is [D, heads, D/heads]")
    width, hidden = converted.arrays["layers.0.mlp.up.kernel"].shape
    return Architecture(layers, width, query.shape[1], mlp_ratio(hidden, width), "gelu_tanh", 1e-6)
