"""How is a match told from a mismatch? InfoNCE over a matrix of scores, in both directions, and the sigmoid form."""

import jax
import jax.numpy as jnp

# Finite, so that 0 · NEVER stays 0 in gradients; far below any cosine over any temperature in use.
NEVER = -1e9


def info_nce(scores: jax.Array, rows: jax.Array, columns: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean cross entropy of the diagonal, along rows and along columns.

    Args:
      scores: float32 [B, B], larger is more alike; the diagonal holds the pairs.
      rows, columns: bool [B], which of them exist. A pair counts where both its row and its column do.

    Returns:
      two scalars: -mean log softmax_j(s_ij)[i=j], and the same over i. Zero where no pair counts.
    """
    scores = scores.astype(jnp.float32)
    pair = rows & columns
    positive = jnp.diagonal(scores)
    across = jax.nn.logsumexp(jnp.where(columns[None, :], scores, NEVER), axis=1) - positive
    down = jax.nn.logsumexp(jnp.where(rows[:, None], scores, NEVER), axis=0) - positive
    return masked_mean(across, pair), masked_mean(down, pair)


def sigmoid_contrast(scores: jax.Array, bias: float, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Every pair as a yes or no of its own (SigLIP, arXiv 2303.15343, eq. 1): a mean over rows, a sum over columns."""
    labels = 2 * jnp.eye(scores.shape[0], dtype=jnp.float32) - 1
    losses = -jax.nn.log_sigmoid(labels * (scores.astype(jnp.float32) + bias))
    exists = rows[:, None] & columns[None, :]
    return jnp.where(exists, losses, 0).sum() / jnp.maximum(rows.sum(), 1)


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of the values where the mask holds; 0 where it holds nowhere."""
    return jnp.where(mask, values, 0).sum() / jnp.maximum(mask.sum(), 1)
