"""Import of Hugging Face ViT weights into the video tower, under file names or transformers 5 names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.interop.importers.pixels import halves, pixels_of
from svilm_jax.interop.importers.rules import (
    Converted,
    Rule,
    convert,
    dropped,
    flat,
    linear,
    norm,
    rule,
    space_time,
    squeezed,
    transposed,
    without_prefix,
)
from svilm_jax.interop.importers.source import VideoSource, architecture_of, split_class_token

# Defaults of the configuration classes.
_DEFAULTS = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "image_size": 224, "patch_size": 16, "qkv_bias": True}

PROJECTIONS = ("query", "key", "value")
_OF_FILES = {
    "query": "encoder.layer.{i}.attention.attention.query",
    "key": "encoder.layer.{i}.attention.attention.key",
    "value": "encoder.layer.{i}.attention.attention.value",
    "out": "encoder.layer.{i}.attention.output.dense",
    "up": "encoder.layer.{i}.intermediate.dense",
    "down": "encoder.layer.{i}.output.dense",
    "before": "encoder.layer.{i}.layernorm_before",
    "after": "encoder.layer.{i}.layernorm_after",
}
# transformers 5 uses these names in memory and writes the ones above, unless it is configured otherwise.
_OF_MEMORY = {
    "query": "layers.{i}.attention.q_proj",
    "key": "layers.{i}.attention.k_proj",
    "value": "layers.{i}.attention.v_proj",
    "out": "layers.{i}.attention.o_proj",
    "up": "layers.{i}.mlp.fc1",
    "down": "layers.{i}.mlp.fc2",
    "before": "layers.{i}.layernorm_before",
    "after": "layers.{i}.layernorm_after",
}

PATCH: list[Rule] = [
    rule("embeddings.patch_embeddings.projection.weight", "patch.kernel", space_time),
    rule("embeddings.patch_embeddings.projection.bias", "patch.bias"),
]
WITH_CLASS_TOKEN: list[Rule] = [
    *PATCH,
    rule("embeddings.cls_token", "class_token", flat),
    rule("embeddings.position_embeddings", "positions", squeezed),
    *norm("layernorm", "norm"),
    dropped("embeddings.mask_token", "of masked pre-training"),
    dropped("decoder.*", "of masked pre-training"),
    dropped("pooler.*", "of its own training; tokens go directly to the projection"),
    dropped("classifier.*", "the classes of its own training"),
]


def read_vit(folder: Path, document: Mapping[str, Any], arrays: Mapping[str, np.ndarray], origin: str) -> VideoSource:
    """Reads the video tower of a folder with an image ViT's model.safetensors and config.json.

    Raises:
      ModelDirectoryError: arrays that do not match the config.
    """
    document = {**_DEFAULTS, **document}
    height, width = pair(document["image_size"], "image_size", origin)
    rows, columns = pair(document["patch_size"], "patch_size", origin)
    converted = convert_with_class_token(document, without_prefix(arrays, "vit."), origin)
    return VideoSource(
        origin=origin,
        architecture=architecture_of(document, origin),
        converted=converted,
        grid=(1, height // rows, width // columns),
        pixels=pixels_of(folder, halves("vit")),
    )


def convert_with_class_token(document: Mapping[str, Any], arrays: Mapping[str, np.ndarray], origin: str) -> Converted:
    """Converts the arrays of a ViT or ViViT to those of `VideoSource.converted`.

    Raises:
      ModelDirectoryError: names that are not those of such a model.
    """
    architecture = architecture_of(document, origin)
    biased = PROJECTIONS if document["qkv_bias"] else ()
    converted = convert(arrays, [*WITH_CLASS_TOKEN, *layer_rules(arrays, biased)], architecture.num_layers, origin)
    split_class_token(converted)
    add_zero_biases(converted, architecture.num_layers, [part for part in PROJECTIONS if part not in biased])
    return converted


def layer_rules(arrays: Mapping[str, np.ndarray], biased: Sequence[str]) -> list[Rule]:
    """Returns the rules of a layer.

    Args:
      arrays: arrays of the source, whose names show which of the two naming schemes it uses.
      biased: which of query, key and value have a bias.
    """
    names = _OF_MEMORY if any(name.startswith("layers.") for name in arrays) else _OF_FILES
    rules = [rule(f"{names[part]}.weight", f"layers.{{i}}.attention.{part}.kernel", transposed) for part in PROJECTIONS]
    rules += [rule(f"{names[part]}.bias", f"layers.{{i}}.attention.{part}.bias") for part in biased]
    return [
        *rules,
        *linear(names["out"], "layers.{i}.attention.out"),
        *linear(names["up"], "layers.{i}.mlp.up"),
        *linear(names["down"], "layers.{i}.mlp.down"),
        *norm(names["before"], "layers.{i}.attention_norm"),
        *norm(names["after"], "layers.{i}.mlp_norm"),
    ]


def add_zero_biases(converted: Converted, layers: int, parts: Sequence[str]) -> None:
    """Adds the missing bias of query, key or value, in place: zeros, never a copy of another one."""
    for i in range(layers):
        for part in parts:
            name = f"layers.{i}.attention.{part}.bias"
            kernel = converted.arrays[f"layers.{i}.attention.{part}.kernel"]
            converted.arrays[name] = np.zeros(kernel.shape[1], np.float32)
            converted.invented[name] = f"zeros: the source has no bias of its {part}"


def pair(value: Any, field: str, origin: str) -> tuple[int, int]:
    """Returns height and width from one number for both, or from two.

    Raises:
      ModelDirectoryError: anything else.
    """
    try:
        height, width = np.broadcast_to(np.asarray(value, int), (2,)).tolist()
    except (ValueError, TypeError) as error:
        raise ModelDirectoryError(f"{origin}: config.json: {field}={value!r}: expected one number or two") from error
    return height, width
