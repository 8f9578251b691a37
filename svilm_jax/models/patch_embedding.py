"""Patch embedding of a clip: tubelets with one linear map, or a convolutional stem.

The stem replaces the linear map by several convolutions over the frames of a tubelet at once, as in arXiv 2106.14881
without its norms: first non-overlapping small patches, then kernels of twice their stride. It sees across the borders
of patches, where most outlines and motions lie, before attention has to: a model trained from scratch on few clips
learns shapes and motions sooner (experiments/README.md). The positions of tokens are unchanged: with strides (4, 2, 2)
a token sees 12 pixels beyond its patch of 16 on every side.
"""

import math

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Shaped

from svilm_jax.config import ConfigError, VideoConfig
from svilm_jax.models.linear import Linear
from svilm_jax.models.transformer import ACTIVATIONS

# ImageNet channel means and standard deviations for pixels in [0, 1], as used by public video ViTs.
PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)

STEM_WIDTH = 32  # output channels of the stem's first layer; doubled by each further one, the last has the width [C]


def token_grid(config: VideoConfig) -> tuple[int, int, int]:
    """Returns the number of temporal indices, rows and columns of tokens: (Nt, H/p, W/p).

    Raises:
      ConfigError: frames or size are not divisible by the tubelet.
    """
    t, ph, pw = config.tubelet_size
    if config.num_frames % t or config.image_size % ph or config.image_size % pw:
        raise ConfigError(
            f"config.model.video: {config.num_frames} frames of {config.image_size}x{config.image_size}: not "
            f"divisible into tubelets of {t}x{ph}x{pw} (frames, height, width)"
        )
    return config.num_frames // t, config.image_size // ph, config.image_size // pw


def embedding_layers(config: VideoConfig, width: int) -> list[tuple[int, int, int]]:
    """Returns (positions per tubelet, inputs, outputs) of each matrix product; the last one outputs the `width`.

    Raises:
      ConfigError: the product of the stem's strides is not the patch size.
    """
    t, ph, pw = config.tubelet_size
    if not config.stem:
        return [(1, t * ph * pw * 3, width)]
    if any(stride < 2 or stride % 2 for stride in config.stem) or not math.prod(config.stem) == ph == pw:
        raise ConfigError(
            f"config.model.video.stem={config.stem}: expected even strides whose product is {ph}, the side of a patch "
            f"of {ph}x{pw} pixels"
        )
    layers, places, channels = [], ph * pw, 3 * t
    for number, stride in enumerate(config.stem, start=1):
        places //= stride**2
        outputs = width if number == len(config.stem) else STEM_WIDTH << (number - 1)
        layers.append((places, _kernel(number, stride) ** 2 * channels, outputs))
        channels = outputs
    return layers


def cut_tubelets(video: Shaped[Array, "B T H W 3"], tubelet: tuple[int, int, int]) -> Shaped[Array, "B Nt Ns pixels"]:
    """Rearranges [B, T, H, W, 3] -> [B, Nt, Ns, t*p*p*3], the pixels of a tubelet by frame, then by row."""
    t, ph, pw = tubelet
    return rearrange(video, "b (nt t) (h ph) (w pw) c -> b nt (h w) (t ph pw c)", t=t, ph=ph, pw=pw)


class PatchEmbedding(nnx.Module):
    """Clips -> tokens without positions."""

    def __init__(self, config: VideoConfig, width: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        self.tubelet, self.strides, self.dtype = config.tubelet_size, config.stem, dtype
        self.activation = config.activation
        *hidden, (_, inputs, _) = embedding_layers(config, width)
        axes = ("patch", "embed")
        # Kernels are stored as matrices, as the optimizer expects.
        self.stem = nnx.Dict(
            {
                f"layer{number}": Linear(rows, columns, axes, gain=2.0, dtype=dtype, rngs=rngs)
                for number, (_, rows, columns) in enumerate(hidden, start=1)
            }
        )
        self.linear = Linear(inputs, width, axes, dtype=dtype, rngs=rngs)

    def __call__(self, video: Shaped[Array, "B T H W 3"]) -> Float[Array, "B Nt Ns D"]:
        """uint8 [B, T, H, W, 3], or float in [0, 1] -> [B, Nt, Ns, D]."""
        if not self.strides:
            # Tubelets are cut while pixels are still bytes, which moves a quarter of the memory.
            return self.linear(normalize_pixels(cut_tubelets(video, self.tubelet), self.dtype))
        x = rearrange(video, "b (nt t) h w c -> (b nt) h w (t c)", t=self.tubelet[0])
        x = normalize_pixels(x, self.dtype)
        layers = [*self.stem.values(), self.linear]
        for number, (layer, stride) in enumerate(zip(layers, self.strides, strict=True), start=1):
            x = _convolve(x, layer, stride, _kernel(number, stride))
            x = x if layer is self.linear else ACTIVATIONS[self.activation](x)
        return rearrange(x, "(b nt) h w d -> b nt (h w) d", b=video.shape[0])


def _kernel(number: int, stride: int) -> int:
    """Returns the kernel size of stem layer `number`, from 1: first non-overlapping, then overlapping."""
    return stride if number == 1 else 2 * stride


def _convolve(x: jax.Array, layer: Linear, stride: int, side: int) -> jax.Array:
    """Convolves [N, h, w, c] -> [N, h/stride, w/stride, c'] with kernels of `side`, zero-padded."""
    assert layer.bias is not None
    kernel = layer.kernel[...].astype(x.dtype).reshape(side, side, x.shape[-1], -1)
    around = ((side - stride) // 2,) * 2
    y = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), (around, around), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y + layer.bias[...].astype(x.dtype)


def normalize_pixels(pixels: Shaped[Array, "*batch n"], dtype: DTypeLike) -> Float[Array, "*batch n"]:
    """Normalizes [..., n*3], channels last: uint8 [0, 255] or float [0, 1] -> zero mean, unit variance per channel."""
    scale = 255.0 if pixels.dtype == jnp.uint8 else 1.0
    repeats = pixels.shape[-1] // 3
    mean = jnp.tile(jnp.asarray(PIXEL_MEAN, jnp.float32), repeats)
    factor = jnp.tile(1 / jnp.asarray(PIXEL_STD, jnp.float32), repeats)
    return ((pixels.astype(jnp.float32) * (1 / scale) - mean) * factor).astype(dtype)
