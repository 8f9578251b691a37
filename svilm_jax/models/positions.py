"""Position embeddings: sinusoidal initialization, and resampling from one grid to another."""

import jax
import jax.numpy as jnp


def sinusoids(positions: int, width: int) -> jax.Array:
    """[positions, width]: sines and cosines of falling frequency (arXiv 1706.03762, section 3.5)."""
    frequencies = 100.0 ** -(jnp.arange(0, width, 2) / width)  # a hundred positions at most, not ten thousand
    angles = jnp.arange(positions)[:, None] * frequencies[None]  # [positions, width/2]
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)[:, :width]


def grid_sinusoids(rows: int, columns: int, width: int) -> jax.Array:
    """[rows * columns, width]: one half of the width tells the row, the other the column."""
    half = width // 2
    down = jnp.repeat(sinusoids(rows, width - half), columns, axis=0)
    across = jnp.tile(sinusoids(columns, half), (rows, 1))
    return jnp.concatenate([down, across], axis=1)


def resample_positions(table: jax.Array, before: tuple[int, ...], after: tuple[int, ...]) -> jax.Array:
    """[n, D] of a grid `before` as those of a grid `after`: linear along every axis, ends fixed to cell edges."""
    if before == after:
        return table
    grid = table.reshape(*before, -1)
    resized = jax.image.resize(grid, (*after, grid.shape[-1]), "linear", antialias=False)
    return resized.reshape(-1, grid.shape[-1])
