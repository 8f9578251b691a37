"""How does a clip become tokens? Tubelets cut from the pixels, and their embedding: one linear map, or a small stem.

The stem sees a tubelet frame by frame in ever larger squares and merges its frames last (the hierarchical patch stem
of arXiv 2203.09795, without its norms). Small squares share their weights, so that every one of them is a sample: a
model trained from nothing on few clips learns outlines sooner than from whole patches. No square reaches over its
patch, and tokens mean the same as with the linear map.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from svilm_jax.config import ConfigError, VideoConfig
from svilm_jax.models.linear import Linear
from svilm_jax.models.transformer import ACTIVATIONS

# Means and standard deviations of ImageNet's channels, on pixels in [0, 1]: what public video ViTs were trained with.
PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)

STEM_WIDTH = 32  # outputs of the stem's first layer; each further one has twice as many [C]


def token_grid(config: VideoConfig) -> tuple[int, int, int]:
    """Time indices, rows and columns of tokens: (Nt, H/p, W/p).

    Raises:
      ConfigError: frames or size do not divide by the tubelet.
    """
    t, ph, pw = config.tubelet
    if config.frames % t or config.size % ph or config.size % pw:
        raise ConfigError(
            f"config.model.video: {config.frames} frames of {config.size}x{config.size} do not divide into tubelets "
            f"of {t}x{ph}x{pw} (frames, height, width)"
        )
    return config.frames // t, config.size // ph, config.size // pw


def embedding_layers(config: VideoConfig, width: int) -> list[tuple[int, int, int]]:
    """(places in a tubelet, inputs, outputs) of each linear layer of the embedding; the last gives the `width`.

    Raises:
      ConfigError: the stem's squares do not divide a patch.
    """
    t, ph, pw = config.tubelet
    side = math.prod(config.stem)
    if any(factor < 2 for factor in config.stem) or ph % side or pw % side:
        raise ConfigError(
            f"config.model.video.stem={config.stem}: expected factors of at least 2 whose product, {side}, divides the "
            f"{ph}x{pw} pixels of a patch"
        )
    layers, places, inputs = [], t * ph * pw, 3
    for number, factor in enumerate(config.stem):
        places //= factor * factor
        outputs = STEM_WIDTH << number
        layers.append((places, inputs * factor * factor, outputs))
        inputs = outputs
    return [*layers, (1, inputs * places, width)]


def cut_tubelets(video: jax.Array, tubelet: tuple[int, int, int], stem: tuple[int, ...] = ()) -> jax.Array:
    """[B, T, H, W, 3] -> [B, Nt, Ns, t*p*p*3].

    Pixels of a tubelet stand in the order in which a stem merges them: those of one small square together, those
    squares that make a larger one together, and so on; without a stem frame, row, column.
    """
    batch, frames, height, width, channels = video.shape
    t, ph, pw = tubelet
    side = math.prod(stem)
    rows = (height // ph, ph // side, *reversed(stem))  # from the whole picture down to the smallest square
    columns = (width // pw, pw // side, *reversed(stem))
    depth = len(rows)
    x = video.reshape(batch, frames // t, t, *rows, *columns, channels)
    pairs = [(3 + level, 3 + depth + level) for level in range(depth)]  # row and column axis of each level
    order = [0, 1, *pairs[0], 2, *(axis for pair in pairs[1:] for axis in pair), 3 + 2 * depth]
    return x.transpose(order).reshape(batch, frames // t, rows[0] * columns[0], t * ph * pw * channels)


class PatchEmbedding(nnx.Module):
    """Clips -> tokens without positions."""

    def __init__(self, config: VideoConfig, width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.tubelet, self.factors, self.dtype = config.tubelet, config.stem, dtype
        self.activation = config.activation
        *hidden, (_, inputs, _) = embedding_layers(config, width)
        axes = ("patch", "embed")
        self.stem = nnx.Dict(
            {
                f"layer{number}": Linear(rows, columns, axes, gain=2.0, dtype=dtype, rngs=rngs)
                for number, (_, rows, columns) in enumerate(hidden, start=1)
            }
        )
        self.linear = Linear(inputs, width, axes, gain=2.0 if hidden else 1.0, dtype=dtype, rngs=rngs)

    def __call__(self, video: jax.Array) -> jax.Array:
        """uint8 [B, T, H, W, 3], or float in [0, 1] -> [B, Nt, Ns, D]."""
        # Tubelets are cut while pixels are still bytes: a quarter of the memory moves.
        x = normalise_pixels(cut_tubelets(video, self.tubelet, self.factors), self.dtype)  # [B, Nt, Ns, t*p*p*3]
        grid = x.shape[:3]
        for layer in self.stem.values():
            x = x.reshape(*grid, -1, layer.in_features)  # [B, Nt, Ns, squares, inputs of one]
            x = ACTIVATIONS[self.activation](layer(x))
        return self.linear(x.reshape(*grid, -1))


def normalise_pixels(pixels: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """[..., n*3], channels last and fastest: uint8 [0, 255] or float [0, 1] -> zero mean, unit variance a channel."""
    scale = 255.0 if pixels.dtype == jnp.uint8 else 1.0
    repeats = pixels.shape[-1] // 3
    mean = jnp.tile(jnp.asarray(PIXEL_MEAN, jnp.float32), repeats)
    factor = jnp.tile(1 / jnp.asarray(PIXEL_STD, jnp.float32), repeats)
    return ((pixels.astype(jnp.float32) * (1 / scale) - mean) * factor).astype(dtype)
