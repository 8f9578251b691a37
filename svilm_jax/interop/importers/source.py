"""Description of a source tower: its arrays under this project's names, and its architecture."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.interop.importers.pixels import Pixels
from svilm_jax.interop.importers.rules import Converted
from svilm_jax.text.tokenizers import Tokenizer

# Activation names of Hugging Face configs -> ours.
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Architecture of a transformer, in terms of our configs."""

    num_layers: int
    hidden_size: int
    num_heads: int
    mlp_ratio: float
    activation: str
    norm_epsilon: float

    def fields(self) -> dict[str, Any]:
        """Returns the fields of `VideoConfig` and of `TextConfig`."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class TextSource:
    """A text tower.

    Attributes:
      converted: arrays of `TextTower` with separate layers.
      positions: rows of the position table.
      pool: sentence pooling, as `TextConfig.pool`.
      tokenizer: tokenizer that the tower was trained with.
    """

    origin: str
    architecture: Architecture
    converted: Converted
    positions: int
    pool: str
    tokenizer: Tokenizer


@dataclasses.dataclass(frozen=True)
class VideoSource:
    """A tower over images or videos.

    Attributes:
      converted: arrays named `patch.kernel` [t, p, p, 3, D], `patch.bias`, `positions` [n, D], `layers.{i}.*` of
        `Layer`; if there is a final norm, `norm.scale` and `norm.bias`; if there is one, `class_token` [D], including
        its position.
      grid: temporal indices, rows and columns of the position table, one temporal index for an image model; None if the
        file does not state it.
      pixels: expected pixel normalization.
      computed: (rows, columns) -> positions float32 [n, D], of an image model that stores no table of them.
    """

    origin: str
    architecture: Architecture
    converted: Converted
    grid: tuple[int, int, int] | None
    pixels: Pixels
    computed: Callable[[int, int], np.ndarray] | None = None

    @property
    def tubelet(self) -> tuple[int, int, int]:
        """Frames, height and width of its patches."""
        t, height, width = self.converted.arrays["patch.kernel"].shape[:3]
        return t, height, width

    @property
    def of_images(self) -> bool:
        """Whether it is an image model."""
        return self.tubelet[0] == 1 and (self.grid is None or self.grid[0] == 1)


def split_class_token(converted: Converted) -> None:
    """Moves the first row of `positions` [1+n, D], which is the class token's, to `class_token` [D]; in place.

    Raises:
      ModelDirectoryError: their widths differ.
    """
    arrays = converted.arrays
    token, positions = arrays["class_token"].shape, arrays["positions"].shape
    if token != positions[1:]:
        raise ModelDirectoryError(f"a class token {token} and positions {positions}: expected the same width")
    arrays["class_token"] = arrays["class_token"] + arrays["positions"][0]
    arrays["positions"] = arrays["positions"][1:]


def mlp_ratio(hidden: int, width: int) -> float:
    """Returns the ratio that gives `hidden` when multiplied by `width` and truncated to an integer, as in `MLP`."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def architecture_of(document: Mapping[str, Any], origin: str) -> Architecture:
    """Reads the architecture from a Hugging Face config.json.

    Raises:
      ModelDirectoryError: a missing field, or a value that the towers here do not support.
    """
    try:
        activation = document.get("hidden_act", "gelu")
        if activation not in _ACTIVATIONS:
            known = ", ".join(_ACTIVATIONS)
            raise ModelDirectoryError(f"{origin}: hidden_act {activation!r}: only {known} are known here")
        width = int(document["hidden_size"])
        return Architecture(
            num_layers=int(document["num_hidden_layers"]),
            hidden_size=width,
            num_heads=int(document["num_attention_heads"]),
            mlp_ratio=mlp_ratio(int(document["intermediate_size"]), width),
            activation=_ACTIVATIONS[activation],
            norm_epsilon=float(document.get("layer_norm_eps", 1e-12)),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ModelDirectoryError):
            raise
        raise ModelDirectoryError(f"{origin}: config.json: {type(error).__name__}: {error}") from error
