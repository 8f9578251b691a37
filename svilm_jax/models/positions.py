"""Position embeddings: sinusoidal initialization, and resampling from one grid to another."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32


def sinusoids(positions: int, width: int) -> Float32[Array, "{positions} {width}"]:
    """Returns [positions, width]: sines and cosines of decreasing frequency (arXiv 1706.03762, section 3.5)."""
    frequencies = 100.0 ** -(jnp.arange(0, width, 2) / width)  # for at most a hundred positions, not ten thousand
    angles = jnp.arange(positions)[:, None] * frequencies[None]  # [positions, width/2]
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)[:, :width]


def grid_sinusoids(rows: int, columns: int, width: int) -> Float32[Array, "{rows}*{columns} {width}"]:
    """Returns [rows * columns, width]: one half of the width encodes the row, the other the column."""
    half = width // 2
    down = jnp.repeat(sinusoids(rows, width - half), columns, axis=0)
    across = jnp.tile(sinusoids(columns, half), (rows, 1))
    return jnp.concatenate([down, across], axis=1)


def resample_positions(
    table: Float[Array, "n D"], before: tuple[int, ...], after: tuple[int, ...]
) -> Float[Array, "m D"]:
    """Resamples [n, D] from grid `before` to grid `after`: linearly along every axis, aligned at cell edges."""
    if before == after:
        return table
    grid = table.reshape(*before, -1)
    resized = jax.image.resize(grid, (*after, grid.shape[-1]), "linear", antialias=False)
    return resized.reshape(-1, grid.shape[-1])
