"""Tests of the question-answering head against NumPy, and of which inputs it may and may not see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from svilm_jax.models.heads.question_answering import FusionLayer, QuestionAnsweringHead
from tests.models.heads.slow_layers import attention, drawn, layer_norm, linear

VIDEO, TEXT, HEADS, CLASSES, LENGTH = 6, 8, 2, 5, 7


def make(dtype=jnp.float32):
    return QuestionAnsweringHead(
        VIDEO, TEXT, HEADS, 2, CLASSES, activation="relu", attention="xla", dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0)
    )


@pytest.fixture(scope="module")
def head():
    return drawn(make)


@pytest.fixture(scope="module")
def run(head):
    graphdef, state = nnx.split(head)
    compiled = jax.jit(lambda state, *given: nnx.merge(graphdef, state)(*given))
    return lambda *given: compiled(state, *given)


@pytest.fixture(scope="module")
def given():
    """tokens [3, 2, 4, 6], groups [3, 3, 6], question [3, 7, 8] and its mask: lengths 7, 4 and 1."""
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = ((3, 2, 4, VIDEO), (3, 3, VIDEO), (3, LENGTH, TEXT))
    tokens, groups, question = (jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True))
    return tokens, groups, question, jnp.arange(LENGTH) < jnp.array([[LENGTH], [4], [1]])


def slow_head(head, tokens, groups, question, length):
    """One row, the padding of its question cut off."""
    seen = np.concatenate([tokens.reshape(-1, VIDEO), groups])
    seen = layer_norm(linear(seen, head.context), head.context_norm)
    x = question[:length]
    for layer in head.layers:
        x = x + attention(layer_norm(x, layer.cross_norm), seen, layer.cross_attention, HEADS)
        y = layer_norm(x, layer.self_norm)
        x = x + attention(y, y, layer.self_attention, HEADS)
        x = x + linear(np.maximum(linear(layer_norm(x, layer.mlp_norm), layer.mlp.up), 0), layer.mlp.down)
    return linear(layer_norm(x[0], head.norm), head.out)


def test_scores_are_the_formula(head, run, given):
    tokens, groups, question, mask = (np.asarray(x) for x in given)
    got = run(*given)
    assert got.shape == (3, CLASSES)
    assert got.dtype == jnp.float32
    for row in range(3):
        parts = (np.asarray(x[row], np.float64) for x in (tokens, groups, question))
        expected = slow_head(head, *parts, int(mask[row].sum()))
        np.testing.assert_allclose(got[row], expected, atol=2e-5)


def test_padding_of_a_question_changes_nothing(run, given):
    tokens, groups, question, mask = given
    noise = jnp.where(mask[..., None], question, 50.0)
    np.testing.assert_allclose(run(tokens, groups, noise, mask), run(*given), atol=1e-5)
    nothing = run(tokens, groups, question, jnp.zeros_like(mask))  # an invalid row: a question of padding alone
    assert np.isfinite(nothing).all()


def test_every_input_matters_to_its_own_row_alone(run, given):
    before = np.asarray(run(*given))
    for number in range(3):
        changed = [x.at[1].add(jax.random.normal(jax.random.key(1), x.shape[1:])) if n == number else x
                   for n, x in enumerate(given[:3])]  # fmt: skip
        moved = np.abs(np.asarray(run(*changed, given[3])) - before).max(axis=1)
        assert moved[1] > 1e-2, number
        assert moved[[0, 2]].max() < 1e-5, number


def test_tokens_after_the_first_reach_the_answer(run, given):
    tokens, groups, question, mask = given
    other = question.at[:, 2].add(jax.random.normal(jax.random.key(2), (TEXT,)))
    moved = np.abs(np.asarray(run(tokens, groups, other, mask)) - np.asarray(run(*given))).max(axis=1)
    assert (moved[:2] > 1e-3).all()  # the third question has one token only
    assert moved[2] < 1e-5


def test_half_precision_inside_gives_float32_scores(given, monkeypatch):
    inside, layer = [], FusionLayer.__call__

    def watched(self, x, mask, context):
        out = layer(self, x, mask, context)
        inside.extend((x.dtype, context.dtype, out.dtype))
        return out

    monkeypatch.setattr(FusionLayer, "__call__", watched)
    assert jax.eval_shape(lambda: make(jnp.bfloat16)(*given)).dtype == jnp.float32
    assert inside == [jnp.bfloat16] * 6
