"""What does a foreign tower say of itself? Its arrays under our names, and its architecture."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from svilm_jax.input.tokenization import Tokenizer
from svilm_jax.interop.folder import FolderError
from svilm_jax.interop.rules import Converted

# Names of activations in Hugging Face's configs -> ours.
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Of a transformer, as our configs have it."""

    layers: int
    width: int
    heads: int
    mlp_ratio: float
    activation: str
    norm_epsilon: float

    def fields(self) -> dict[str, Any]:
        """Of `VideoConfig` and of `TextConfig`."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class TextSource:
    """A text tower.

    Attributes:
      converted: arrays of `TextTower` with its layers apart.
      positions: rows of the position table.
      pool: what stands for a sentence, as `TextConfig.pool`.
      tokenizer: what the tower was trained with.
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
      converted: arrays named `patch.kernel` [t, p, p, 3, D], `patch.bias`, `positions` [n, D], `norm.scale`,
        `norm.bias`, `layers.{i}.*` of `Layer`; and, where there is one, `class_token` [D] with its position in it.
      grid: time indices, rows and columns of the table of positions; one time index for an image model.
      pixel_mean, pixel_std: what it expects pixels in [0, 1] to be normalised with.
    """

    origin: str
    architecture: Architecture
    converted: Converted
    grid: tuple[int, int, int]
    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]

    @property
    def of_images(self) -> bool:
        """Whether it knows nothing of time."""
        return self.converted.arrays["patch.kernel"].shape[0] == 1


def architecture_of(document: Mapping[str, Any], origin: str) -> Architecture:
    """From a config.json of Hugging Face.

    Raises:
      FolderError: a field that is missing or means something that the towers here cannot do.
    """
    try:
        activation = document.get("hidden_act", "gelu")
        if activation not in _ACTIVATIONS:
            known = ", ".join(_ACTIVATIONS)
            raise FolderError(f"{origin}: hidden_act {activation!r}: only {known} are known here")
        width = int(document["hidden_size"])
        return Architecture(
            layers=int(document["num_hidden_layers"]),
            width=width,
            heads=int(document["num_attention_heads"]),
            mlp_ratio=float(document["intermediate_size"]) / width,
            activation=_ACTIVATIONS[activation],
            norm_epsilon=float(document.get("layer_norm_eps", 1e-12)),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, FolderError):
            raise
        raise FolderError(f"{origin}: config.json: {type(error).__name__}: {error}") from error
