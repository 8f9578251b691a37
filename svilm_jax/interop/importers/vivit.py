"""Import of Hugging Face ViViT weights (joint space-time attention over tubelets) into the video tower."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.interop.importers.pixels import halves, pixels_of
from svilm_jax.interop.importers.rules import without_prefix
from svilm_jax.interop.importers.source import VideoSource, architecture_of
from svilm_jax.interop.importers.vit import convert_with_class_token, pair

# Defaults of the configuration class.
_DEFAULTS = {
    "hidden_act": "gelu_fast",
    "layer_norm_eps": 1e-6,
    "image_size": 224,
    "num_frames": 32,
    "tubelet_size": (2, 16, 16),
    "qkv_bias": True,
}


def read_vivit(folder: Path, document: Mapping[str, Any], arrays: Mapping[str, np.ndarray], origin: str) -> VideoSource:
    """Reads the video tower of a folder with a ViViT's model.safetensors and config.json.

    Raises:
      ModelDirectoryError: arrays that do not match the config.
    """
    document = {**_DEFAULTS, **document}
    height, width = pair(document["image_size"], "image_size", origin)
    try:
        t, rows, columns = (int(side) for side in document["tubelet_size"])
        grid = int(document["num_frames"]) // t, height // rows, width // columns
    except (TypeError, ValueError) as error:
        raise ModelDirectoryError(f"{origin}: config.json: tubelet_size and num_frames: {error}") from error
    return VideoSource(
        origin=origin,
        architecture=architecture_of(document, origin),
        converted=convert_with_class_token(document, without_prefix(arrays, "vivit."), origin),
        grid=grid,
        pixels=pixels_of(folder, halves("vivit")),
    )
