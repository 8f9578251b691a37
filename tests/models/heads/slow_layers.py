"""Double-precision NumPy reference of head layers, with the weights of the modules under test."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


def drawn(make):
    """The module that `make` builds with random parameters, also where norms and biases start as ones and zeros."""
    graphdef, shapes = nnx.split(nnx.eval_shape(make))
    rng = np.random.default_rng(0)
    draw = lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.4, leaf.dtype)  # noqa: E731
    return nnx.merge(graphdef, jax.tree.map(draw, shapes))


def value(param):
    return np.asarray(param[...], np.float64)


def linear(x, layer):
    return x @ value(layer.kernel) + value(layer.bias)


def layer_norm(x, norm):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6) * value(norm.scale) + value(norm.bias)


def attention(x, context, layer, heads):
    """One row: x [N, D] looks at context [S, D]."""
    query, key, values = (linear(y, m) for y, m in ((x, layer.query), (context, layer.key), (context, layer.value)))
    depth = x.shape[1] // heads
    mixed = np.zeros_like(x)
    for h in range(heads):
        part = slice(h * depth, (h + 1) * depth)
        scores = query[:, part] @ key[:, part].T / np.sqrt(depth)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        mixed[:, part] = weights / weights.sum(axis=1, keepdims=True) @ values[:, part]
    return linear(mixed, layer.out)
