"""Toy-sized ViT and ViViT in flax.linen as import sources, with the array names that linen itself gives.

Written from the papers (arXiv 2010.11929 and 2103.15691) for the tests.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

WIDTH, LAYERS, HEADS, HIDDEN = 16, 2, 4, 40


class MlpBlock(nn.Module):
    """Two dense layers."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.gelu(nn.Dense(HIDDEN)(x))  # first, and therefore Dense_0
        return nn.Dense(x.shape[-1])(y)


class EncoderBlock(nn.Module):
    """A pre-norm layer."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(num_heads=HEADS)(y, y)
        y = nn.LayerNorm()(x)
        return x + MlpBlock()(y)


class AddPositions(nn.Module):
    """A row a token, the class token's first."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return x + self.param("pos_embedding", nn.initializers.normal(0.3), (1, *x.shape[1:]))


class Encoder(nn.Module):
    """Layers and a norm."""

    add_positions: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.add_positions:
            x = AddPositions(name="posembed_input")(x)
        for number in range(LAYERS):
            x = EncoderBlock(name=f"encoderblock_{number}")(x)
        return nn.LayerNorm(name="encoder_norm")(x)


class ViT(nn.Module):
    """Over images [B, H, W, 3] or clips [B, T, H, W, 3].

    `positions`: "input", a table for class token and patches; "learn", a table for patches; "sincos2d", none.
    """

    patch: tuple[int, ...]
    class_token: bool = True
    positions: str = "input"

    @nn.compact
    def __call__(self, pixels: jax.Array) -> jax.Array:
        """[B, 1+n, D], the class token first where there is one."""
        x = nn.Conv(WIDTH, self.patch, strides=self.patch, padding="VALID", name="embedding")(pixels)
        grid = x.shape[1:-1]
        x = x.reshape(len(x), -1, WIDTH)
        if self.positions == "learn":
            x = x + self.param("pos_embedding", nn.initializers.normal(0.3), (1, *x.shape[1:]))
        elif self.positions == "sincos2d":
            x = x + _plane(*grid)
        if self.class_token:
            cls = self.param("cls", nn.initializers.normal(0.3), (1, 1, WIDTH))
            x = jnp.concatenate([jnp.tile(cls, (len(x), 1, 1)), x], axis=1)
        x = Encoder(self.positions == "input", name="Transformer")(x)
        # A classifier, only so that it has arrays.
        nn.Dense(3, name="output_projection" if len(self.patch) == 3 else "head")(x[:, 0])
        return x


def _plane(rows: int, columns: int) -> np.ndarray:
    """[rows*columns, D], number by number."""
    table = np.zeros((rows * columns, WIDTH), np.float32)
    quarter = WIDTH // 4
    for row in range(rows):
        for column in range(columns):
            for k in range(quarter):
                omega = 1 / 10000 ** (k / (quarter - 1))
                angles = (np.sin(column * omega), np.cos(column * omega), np.sin(row * omega), np.cos(row * omega))
                table[row * columns + column, k::quarter] = angles
    return table


def made(model: ViT, video: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """Parameters with no zeros among them, and what the model makes of uint8 clips [B, T, H, W, 3]: [B, 1+n, D]."""
    pixels = jnp.asarray(video / 255.0 * 2 - 1, jnp.float32)
    pixels = pixels if len(model.patch) == 3 else pixels[:, 0]
    params = flatten_dict(model.init(jax.random.key(0), pixels)["params"])
    rng = np.random.default_rng(0)
    params = {way: np.asarray(x + rng.normal(0, 0.1, x.shape), np.float32) for way, x in params.items()}
    params = unflatten_dict(params)
    return params, np.asarray(model.apply({"params": params}, pixels))


def flat(params: dict[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Names as *.npz files have them."""
    return {prefix + name: x for name, x in flatten_dict(params, sep="/").items()}
