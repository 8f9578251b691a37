"""Pixel normalization of a source tower (mean and standard deviation), and its conversion to this project's."""

import dataclasses
from pathlib import Path

import numpy as np

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.filesystem.json_reader import read_document
from svilm_jax.models.patch_embedding import PIXEL_MEAN, PIXEL_STD

_FILE = "preprocessor_config.json"
_FIELDS = ("image_mean", "image_std")

Channels = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Channel means and standard deviations for pixels in [0, 1], and where they are stated."""

    mean: Channels
    std: Channels
    stated_by: str

    def __str__(self) -> str:
        return f"mean {self.mean}, std {self.std}, as stated by {self.stated_by}"


def imagenet(kind: str) -> Pixels:
    """Returns ImageNet normalization, the default of a kind of model."""
    return Pixels(PIXEL_MEAN, PIXEL_STD, f"the default of {kind}")


def halves(kind: str) -> Pixels:
    """Returns normalization to [-1, 1], the default of a kind of model."""
    return Pixels((0.5,) * 3, (0.5,) * 3, f"the default of {kind}")


def pixels_of(folder: Path, default: Pixels) -> Pixels:
    """Reads preprocessor_config.json of a Hugging Face folder, else returns the default of the kind.

    `image_mean` and `image_std` apply, and `offset` does not: ViViT's processor can apply both, one after the other,
    and its weights were trained on values in [-1, 1], which either of the two does by itself.

    Raises:
      ModelDirectoryError: an unreadable file, or values that are not means and deviations of three channels.
    """
    file = folder / _FILE
    if not file.is_file():
        return default
    try:
        document = read_document(file)
        if not document.get("do_normalize", True):
            # [-1, 1] where zero is moved to the middle, else [0, 1] as they are
            return dataclasses.replace(halves(""), stated_by=_FILE) if document.get("offset") else Pixels(*_AS_THEY_ARE)
        if any(document.get(field) is None for field in _FIELDS):
            return default
        mean, std = (_channels(document[field]) for field in _FIELDS)
        if min(std) <= 0:
            raise ValueError(f"image_std {std}")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelDirectoryError(f"{file}: expected readable values of image_mean and image_std ({error})") from error
    return Pixels(mean, std, _FILE)


def convert_normalization(kernel: np.ndarray, bias: np.ndarray, pixels: Pixels) -> tuple[np.ndarray, np.ndarray]:
    """Converts a patch embedding to this project's pixel normalization, so that it gives the same tokens.

    With n = (x - m) / s ours and (x - m') / s' theirs, (x - m') / s' = n s / s' + (m - m') / s'.

    Args:
      kernel: [t, p, p, 3, D].
      bias: [D].
      pixels: normalization of the source.

    Returns:
      (kernel, bias), float32 of the same shapes.
    """
    (ours, spread), (theirs, scale) = (np.asarray(x) for x in ((PIXEL_MEAN, PIXEL_STD), (pixels.mean, pixels.std)))
    wide = kernel.astype(np.float64)
    shift = np.einsum("tijcd,c->d", wide, (ours - theirs) / scale)
    return (wide * (spread / scale)[:, None]).astype(np.float32), (bias + shift).astype(np.float32)


_AS_THEY_ARE = ((0.0,) * 3, (1.0,) * 3, _FILE)


def _channels(value: object) -> Channels:
    """Returns one value for all channels, or three."""
    red, green, blue = np.broadcast_to(np.asarray(value, np.float64), (3,)).tolist()
    return red, green, blue
