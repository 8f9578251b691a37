"""Tests of the grouping block against docs/method.md, 1.1 written as loops, and of the three assignments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from svilm_jax.models.grouping import GroupingBlock, assign


def layer_norm(x, norm):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-6) * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])


def linear(x, layer):
    return x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def mlp(x, layer):
    return linear(np.maximum(linear(x, layer.up), 0), layer.down)


def slow_block(block, g, x, heads, assignment):
    """One clip: g [M, D], x [N, D]."""
    x = layer_norm(x, block.video_norm)
    q, depth = layer_norm(g, block.cross_norm), g.shape[1] // heads
    a = block.cross_attention
    query, key, value = linear(q, a.query), linear(x, a.key), linear(x, a.value)
    mixed = np.zeros_like(g)
    for h in range(heads):
        part = slice(h * depth, (h + 1) * depth)
        mixed[:, part] = softmax(query[:, part] @ key[:, part].T / np.sqrt(depth), 1) @ value[:, part]
    g = g + linear(mixed, a.out)
    g = g + mlp(layer_norm(g, block.cross_mlp_norm), block.cross_mlp)
    logits = linear(layer_norm(g, block.assign_norm), block.query) @ linear(x, block.key).T / np.sqrt(g.shape[1])
    weights = softmax(logits, 0)
    if assignment != "soft":
        weights = (np.arange(len(g))[:, None] == logits.argmax(axis=0)[None]).astype(float)
    values, update = linear(x, block.value), np.zeros_like(g)
    for m in range(len(g)):
        update[m] = sum(weights[m, n] * values[n] for n in range(len(x))) / (weights[m].sum() + 1)
    g = g + linear(update, block.out)
    return g + mlp(layer_norm(g, block.update_mlp_norm), block.update_mlp), logits


@pytest.mark.parametrize("assignment", ["hard", "soft", "gumbel"])
def test_block_is_the_method(assignment):
    block = GroupingBlock(
        8, 2, assignment=assignment, mlp_ratio=2.0, activation="relu", epsilon=1e-6, attention="xla",
        dtype=jnp.float32, rngs=nnx.Rngs(0),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    g, x = rng.normal(size=(3, 4, 8)).astype(np.float32), rng.normal(size=(3, 10, 8)).astype(np.float32)
    groups, logits = block(jnp.asarray(g), jnp.asarray(x), train=False)
    for i in range(3):
        expected, affinity = slow_block(block, g[i], x[i], 2, assignment)
        np.testing.assert_allclose(groups[i], expected, atol=2e-5)
        np.testing.assert_allclose(logits[i], affinity, atol=2e-5)


def test_hard_assignment_is_one_hot_with_the_gradient_of_the_softmax():
    logits = jax.random.normal(jax.random.key(0), (2, 4, 9))
    hard = assign(logits, "hard", train=True)
    assert np.allclose(np.sort(np.asarray(hard), axis=1), np.array([0, 0, 0, 1])[None, :, None], atol=1e-6)
    weights = jax.random.normal(jax.random.key(1), logits.shape)
    through = jax.grad(lambda a: (assign(a, "hard", train=True) * weights).sum())(logits)
    soft = jax.grad(lambda a: (assign(a, "soft", train=True) * weights).sum())(logits)
    np.testing.assert_allclose(through, soft, atol=1e-6)


def test_gumbel_noise_only_in_training():
    logits = jax.random.normal(jax.random.key(0), (2, 4, 50))
    keys = jax.random.key(1), jax.random.key(2)
    one, two = (assign(logits, "gumbel", train=True, rng=key) for key in keys)
    assert (np.asarray(one) != np.asarray(two)).any()
    np.testing.assert_array_equal(assign(logits, "gumbel", train=False), assign(logits, "hard", train=False))
    with pytest.raises(ValueError, match="rng"):
        assign(logits, "gumbel", train=True)


def test_a_group_without_tokens_stays_finite():
    block = GroupingBlock(
        8, 2, assignment="hard", mlp_ratio=2.0, activation="relu", epsilon=1e-6, attention="xla",
        dtype=jnp.float32, rngs=nnx.Rngs(0),
    )  # fmt: skip
    g = jnp.ones((1, 4, 8)) * jnp.arange(4)[None, :, None]
    x = jnp.ones((1, 3, 8))  # all tokens alike: all go to one group

    def loss(g, x):
        return (block(g, x, train=True)[0] ** 2).sum()

    value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(g, x)
    assert np.isfinite(value)
    assert all(np.isfinite(a).all() for a in gradients)
