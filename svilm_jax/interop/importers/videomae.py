"""Import of VideoMAE weights into the video tower: Hugging Face checkpoints and the authors' fused format."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.interop.importers.pixels import imagenet, pixels_of
from svilm_jax.interop.importers.rules import (
    Rule,
    convert,
    dropped,
    linear,
    norm,
    renamed,
    rule,
    space_time,
    split_qkv,
    transposed,
    without_prefix,
)
from svilm_jax.interop.importers.source import VideoSource, architecture_of
from svilm_jax.interop.importers.vit import PATCH, PROJECTIONS, add_zero_biases, layer_rules, pair

# Defaults of the configuration class.
_DEFAULTS = {
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "image_size": 224,
    "patch_size": 16,
    "num_frames": 16,
    "tubelet_size": 2,
    "qv_bias": True,
    "use_mean_pooling": True,
}
_OF_PRETRAINING = "of VideoMAE's own pre-training"

_DROPPED: list[Rule] = [
    dropped("mask_token", _OF_PRETRAINING),
    dropped("decoder.*", _OF_PRETRAINING),
    dropped("encoder_to_decoder.*", _OF_PRETRAINING),
    dropped("fc_norm.*", "a norm of the mean of all tokens, of the classifier; tokens get a newly initialized one"),
    dropped("classifier.*", "the classes of its own training"),
    dropped("head.*", "the classes of its own training"),
]


def read_videomae(
    folder: Path, document: Mapping[str, Any], arrays: Mapping[str, np.ndarray], origin: str
) -> VideoSource:
    """Reads the video tower of a folder with a VideoMAE's model.safetensors and config.json.

    No format has a key bias, which is set to zero. Softmax does not depend on it, so that comparing outputs
    would never reveal a wrong one: other converters have copied that of the values.

    Raises:
      ModelDirectoryError: arrays that do not match the config.
    """
    document = {**_DEFAULTS, **document}
    architecture = architecture_of(document, origin)
    arrays, fused = _plain_names(arrays)
    biased = ("query", "value") if document.get("qkv_bias", document["qv_bias"]) else ()
    rules = [*_DROPPED, *(_fused_rules(bool(biased)) if fused else [*PATCH, *layer_rules(arrays, biased)])]
    last = "norm" if fused else "layernorm"
    if f"{last}.weight" in arrays or not document["use_mean_pooling"]:
        rules += norm(last, "norm")
    converted = convert(arrays, rules, architecture.num_layers, origin)
    add_zero_biases(converted, architecture.num_layers, [part for part in PROJECTIONS if part not in biased])
    grid = _grid(document, origin)
    converted.arrays["positions"] = sine_cosine_table(int(np.prod(grid)), architecture.hidden_size)
    converted.invented["positions"] = "sines and cosines, which the source computes and does not store"
    return VideoSource(
        origin=origin,
        architecture=architecture,
        converted=converted,
        grid=grid,
        pixels=pixels_of(folder, imagenet("videomae")),
    )


def sine_cosine_table(positions: int, width: int) -> np.ndarray:
    """Returns float32 [positions, width]: sine in even columns and cosine in odd ones (arXiv 1706.03762, section 3.5).

    A position is the number of a token in the flattened grid. Computed in float64, as the source does: at position
    1,567 a float32 angle would be wrong in its fourth decimal.
    """
    frequencies = 10000.0 ** -(np.arange(0, width, 2) / width)
    angles = np.arange(positions)[:, None] * frequencies  # [positions, width/2]
    table = np.stack([np.sin(angles), np.cos(angles)], axis=2)  # [positions, width/2, 2]
    return table.reshape(positions, -1)[:, :width].astype(np.float32)


def _plain_names(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], bool]:
    """Returns the arrays without the prefix of a larger model, and whether they are in the authors' format."""
    for prefix in ("encoder.", ""):  # an encoder with a decoder, or a classifier
        if f"{prefix}patch_embed.proj.weight" in arrays:
            return without_prefix(arrays, prefix), True
    # Older versions of transformers store the biases next to the projections.
    biases = {"q_bias": "query.bias", "v_bias": "value.bias"}
    return renamed(
        without_prefix(arrays, "videomae."),
        lambda name: re.sub(r"(?<=attention\.attention\.)[qv]_bias$", lambda m: biases[m[0]], name),
    ), False


def _fused_rules(biased: bool) -> list[Rule]:
    """Returns the rules of the authors' arrays: query, key and value in one, and two biases."""
    fused = tuple(
        (f"layers.{{i}}.attention.{part}.kernel", split_qkv(n, transposed)) for n, part in enumerate(PROJECTIONS)
    )
    biases = [
        rule("blocks.{i}.attn.q_bias", "layers.{i}.attention.query.bias"),
        rule("blocks.{i}.attn.v_bias", "layers.{i}.attention.value.bias"),
    ]
    return [
        rule("patch_embed.proj.weight", "patch.kernel", space_time),
        rule("patch_embed.proj.bias", "patch.bias"),
        Rule("blocks.{i}.attn.qkv.weight", fused),
        *(biases if biased else []),
        *linear("blocks.{i}.attn.proj", "layers.{i}.attention.out"),
        *linear("blocks.{i}.mlp.fc1", "layers.{i}.mlp.up"),
        *linear("blocks.{i}.mlp.fc2", "layers.{i}.mlp.down"),
        *norm("blocks.{i}.norm1", "layers.{i}.attention_norm"),
        *norm("blocks.{i}.norm2", "layers.{i}.mlp_norm"),
    ]


def _grid(document: Mapping[str, Any], origin: str) -> tuple[int, int, int]:
    height, width = pair(document["image_size"], "image_size", origin)
    rows, columns = pair(document["patch_size"], "patch_size", origin)
    try:
        return int(document["num_frames"]) // int(document["tubelet_size"]), height // rows, width // columns
    except (TypeError, ValueError) as error:
        raise ModelDirectoryError(f"{origin}: config.json: num_frames and tubelet_size: {error}") from error
