"""Tests of the G-TAD head against loops: neighbors, sampling, masks and the size of the original."""

import functools
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from svilm_jax.config import ConfigError
from svilm_jax.models.heads.graph import GCNeXt, GroupedConv, gather_steps, nearest_steps
from svilm_jax.models.heads.gtad import GTAD, MASK_VALUE, SGAlign, anchors, sampling_weights

SMALL = {"steps": 9, "width": 8, "hidden": (7, 6), "groups": 2, "path": 2, "input_groups": 2, "inner": 5, "context": 2}


@functools.cache
def small(**changes):
    """A head of 9 steps and 6 features, compiled: it and the function of (features, mask)."""
    head = GTAD(6, rngs=nnx.Rngs(0), **{**SMALL, "chunk": 8, **changes})
    return head, jax.jit(lambda x, mask=None: head(x, mask))


def value(param):
    return np.asarray(param[...], np.float64)


def linear(x, layer):
    return x @ value(layer.kernel) + (value(layer.bias) if layer.use_bias else 0)


def relu(x):
    return np.maximum(x, 0)


def slow_conv(x, layer):
    """One video [T, rows] -> [T, columns], channel by channel."""
    kernel, bias = value(layer.kernel), value(layer.bias)
    groups, seen, each = kernel.shape
    rows = x.shape[1] // groups
    reach = seen // rows // 2
    out = np.tile(bias, (len(x), 1))
    for t in range(len(x)):
        for g in range(groups):
            for offset in range(-reach, reach + 1):
                for i in range(rows):
                    if 0 <= t + offset < len(x):
                        weight = kernel[g, (offset + reach) * rows + i]
                        out[t, g * each : (g + 1) * each] += x[t + offset, g * rows + i] * weight
    return out


def slow_nearest(x, count, itself):
    """One video: sorted by distance, the step itself first or not at all."""
    chosen = []
    for i in range(len(x)):
        others = sorted((j for j in range(len(x)) if j != i), key=lambda j: (((x[i] - x[j]) ** 2).sum(), j))  # noqa: B023
        chosen.append(([i, *others] if itself else others)[:count])
    return chosen


def slow_block(block, x):
    temporal = linear(relu(slow_conv(relu(linear(x, block.temporal_down)), block.temporal_mix)), block.temporal_up)
    kernel = np.concatenate([value(block.semantic_neighbor.kernel), value(block.semantic_step.kernel)])
    out = np.zeros_like(x)
    for t, near in enumerate(slow_nearest(x, block.neighbors, block.itself)):
        edges = []
        for j in near:
            edge = relu(np.concatenate([x[j], x[t]]) @ kernel + value(block.semantic_step.bias))
            edges.append(linear(relu(slow_conv(edge[None], block.semantic_mix)), block.semantic_up)[0])
        out[t] = relu(x[t] + temporal[t] + np.max(edges, axis=0))
    return out


def slow_align(x, start, duration, samples):
    """The samples of one anchor from one video, point by point: [samples, D]."""
    steps, length = len(x), 2 * duration + 1
    low = int(start) - Fraction(int(duration) + 1, 2)
    points = math.ceil(length / samples)
    out = np.zeros((samples, x.shape[1]))
    for p in range(samples):
        for k in range(points):
            place = low + Fraction(int(length), samples) * (p + Fraction(2 * k + 1, 2 * points))
            if -1 <= place <= steps:
                place = float(min(max(place, 0), steps - 1))
                before = min(int(place), steps - 2)
                out[p] += ((before + 1 - place) * x[before] + (place - before) * x[before + 1]) / points
    return out


@pytest.mark.parametrize(("kernel", "groups"), [(1, 1), (3, 2), (3, 4)])
def test_grouped_convolution_is_a_loop(kernel, groups):
    conv = GroupedConv(8, 12, kernel=kernel, groups=groups, dtype=jnp.float32, rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(2, 5, 8))
    for got, one in zip(conv(jnp.asarray(x)), x, strict=True):
        np.testing.assert_allclose(got, slow_conv(one, conv), atol=1e-5)


@pytest.mark.parametrize("itself", [True, False])
def test_neighbors_are_the_nearest_by_sorting(itself):
    x = np.random.default_rng(0).normal(size=(3, 10, 4)).astype(np.float32)
    index, exists = nearest_steps(jnp.asarray(x), 3, itself=itself)
    assert np.asarray(exists).all()
    for got, one in zip(np.asarray(index), x, strict=True):
        assert got.tolist() == slow_nearest(one, 3, itself)
    if itself:
        np.testing.assert_array_equal(index[..., 0], np.tile(np.arange(10), (3, 1)))
    else:
        assert (np.asarray(index) != np.arange(10)[:, None]).all()
    np.testing.assert_array_equal(gather_steps(jnp.asarray(x), index)[1, 4, 2], x[1, int(index[1, 4, 2])])


def test_equal_features_have_fixed_neighbors_and_a_mask_takes_steps_out():
    same = jnp.full((1, 6, 3), 1e4)  # large, so that a computed distance to oneself would not be zero
    index, _ = nearest_steps(same, 3)
    np.testing.assert_array_equal(index[0], [[0, 1, 2], [1, 0, 2], [2, 0, 1], [3, 0, 1], [4, 0, 1], [5, 0, 1]])
    mask = jnp.array([[True, True, False, False, False, False]])
    index, exists = nearest_steps(jax.random.normal(jax.random.key(0), (1, 6, 3)), 3, mask=mask)
    np.testing.assert_array_equal(index[0, :2], [[0, 1, 0], [1, 0, 1]])
    np.testing.assert_array_equal(exists[0, :2], [[True, True, False]] * 2)
    with pytest.raises(ValueError, match="6 neighbors among 6 steps without"):
        nearest_steps(same, 6, itself=False)


@pytest.mark.parametrize("itself", [True, False])
def test_block_is_the_formula(itself):
    block = GCNeXt(8, groups=2, path=3, neighbors=3, itself=itself, dtype=jnp.float32, rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(2, 7, 8))
    for got, one in zip(jax.jit(lambda x: block(x))(x), x, strict=True):
        np.testing.assert_allclose(got, slow_block(block, one), atol=1e-5)


@pytest.mark.parametrize("samples", [1, 4, 32])
def test_sampling_is_point_by_point(samples):
    x = np.random.default_rng(0).normal(size=(12, 3))
    every = anchors(12)
    assert len(every) == 12 * 13 // 2
    weights = np.asarray(sampling_weights(jnp.asarray(every[:, 0]), jnp.asarray(every[:, 1]), 12, samples))
    assert weights.shape == (len(every), samples, 12)
    for (start, duration), got in zip(every, weights @ x, strict=True):
        np.testing.assert_allclose(got, slow_align(x, start, duration, samples), atol=1e-5)


def test_samples_of_the_middle_of_a_long_video_are_where_they_should_be():
    """Of features that are the time itself, the samples of (20, 9) are spread over [20 - 5, 29 + 5]."""
    weights = sampling_weights(jnp.array([20]), jnp.array([9]), 64, 19)[0]
    np.testing.assert_allclose(weights @ jnp.arange(64.0), 15 + np.arange(19) + 0.5, atol=1e-4)


@pytest.mark.parametrize("context", [0, 2])
def test_alignment_is_sampling_and_then_the_layers(context):
    align = SGAlign(
        4, (6, 5), steps=7, inner=3, context=context, neighbors=2, itself=True, chunk=4, dtype=jnp.float32,
        rngs=nnx.Rngs(0),
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(2, 7, 4))
    got = np.asarray(align(jnp.asarray(x)))
    for b in range(2):
        around = np.stack([x[b][near].mean(axis=0) for near in slow_nearest(x[b], 2, True)])
        for start in range(7):
            for duration in range(7):
                expected = np.zeros(5)
                if start + duration < 7:
                    parts = [slow_align(x[b], start, duration, 3)]
                    parts += [slow_align(around, start, duration, context)] if context else []
                    hidden = np.einsum("pc,pch->h", np.concatenate(parts), value(align.kernel)) + value(align.bias)
                    expected = relu(linear(relu(hidden), align.reduce))
                np.testing.assert_allclose(got[b, start, duration], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        # What the authors' file says that a summary of their network counted; see the docstring of GTAD.
        ({"inner": 32, "context": 32, "kernel": 3}, 9_495_428),
        ({}, 5_563_268),
        ({"classes": 200}, 5_563_268 + 3 * 256 * 256 + 256 + 256 * 201 + 201),  # and nothing
    ],
)
def test_the_size_of_the_original(options, count):
    state = nnx.state(nnx.eval_shape(lambda: GTAD(400, rngs=nnx.Rngs(0), **options)), nnx.Param)
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) == count
    for path, leaf in nnx.to_flat_state(state):
        assert len(leaf.get_metadata()["axes"]) == leaf.ndim, path


@pytest.mark.parametrize("kernel", [1, 3])
def test_shapes_and_rows_that_do_not_mix(kernel):
    _, run = small(classes=3, kernel=kernel)
    x = jax.random.normal(jax.random.key(0), (3, 9, 6))
    whole, alone = run(x), run(x[1:2])
    assert whole.start.shape == whole.end.shape == (3, 9)
    assert whole.scores.shape == (3, 2, 9, 9)
    assert whole.classes.shape == (3, 9, 4)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a[1:2], b, atol=1e-5)
    inside = np.add.outer(np.arange(9), np.arange(9)) < 9
    np.testing.assert_array_equal(whole.valid, np.tile(inside, (3, 1, 1)))
    scores = np.asarray(whole.scores)
    assert (scores[:, :, ~inside] == MASK_VALUE).all()
    assert (scores[:, :, inside] > MASK_VALUE).all()
    assert small()[1](x).classes is None


def test_the_chunk_changes_nothing():
    x = jax.random.normal(jax.random.key(0), (2, 9, 6))
    for chunk in (7, 1000):
        np.testing.assert_allclose(small(chunk=chunk)[1](x).scores, small()[1](x).scores, atol=1e-5)


def test_steps_that_do_not_exist_are_not_seen():
    _, run = small(classes=3)
    x = jax.random.normal(jax.random.key(0), (2, 9, 6))
    mask = jnp.arange(9) < jnp.array([[6], [9]])
    out, other = run(x, mask), run(jnp.where(mask[..., None], x, 1e3), mask)
    for name in ("start", "end", "classes"):
        a, b = (np.asarray(getattr(o, name))[np.asarray(mask)] for o in (out, other))
        np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_allclose(out.scores, other.scores, atol=1e-5)
    ends = np.add.outer(np.arange(9), np.arange(9))
    np.testing.assert_array_equal(out.valid, np.stack([ends < 6, ends < 9]))
    full = run(x, jnp.ones((2, 9), bool))
    for a, b in zip(jax.tree.leaves(full), jax.tree.leaves(run(x)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_gradients_reach_every_parameter_and_stay_finite():
    graphdef, state = nnx.split(small(classes=3)[0])
    x = jax.random.normal(jax.random.key(0), (4, 9, 6)).at[0].set(0)  # a video of zeros: every distance ties

    def loss(state, x):
        out = nnx.merge(graphdef, state)(x)
        return sum((leaf.astype(jnp.float32) ** 2).sum() for leaf in jax.tree.leaves(out))

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(state, x)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    for path, leaf in nnx.to_flat_state(gradients[0]):
        assert np.any(np.asarray(leaf[...]) != 0), path


def test_bfloat16_gives_float32_logits():
    out = small(classes=3, dtype=jnp.dtype(jnp.bfloat16))[1](jnp.ones((1, 9, 6)))
    assert {out.start.dtype, out.end.dtype, out.scores.dtype, out.classes.dtype} == {jnp.dtype(jnp.float32)}
    assert np.isfinite(out.scores).all()


def test_what_cannot_be_built_says_why():
    with pytest.raises(ValueError, match=r"takes \[B, 9, 6\]"):
        small()[1](jnp.ones((1, 8, 6)))
    with pytest.raises(ConfigError, match="not divisible into 4 groups"):
        small(input_groups=4)
    with pytest.raises(ConfigError, match="no center"):
        GroupedConv(4, 4, kernel=2, groups=1, dtype=jnp.float32, rngs=nnx.Rngs(0))
