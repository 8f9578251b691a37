"""Tests of parameter counts, of stacked against separate layers, and of independent batch rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from svilm_jax.config import ConfigError, resolve
from svilm_jax.models.normalization import normalize
from svilm_jax.models.parameters import abstract_model, bind, count, parameters, within_bounds
from svilm_jax.models.svilm import build_model
from svilm_jax.models.transformer import TransformerBlock, TransformerStack
from svilm_jax.models.variants import Size
from svilm_jax.profiling.model_flops import layer_flops, train_flops
from tests.tiny import get_config, tiny_config


def by_hand(width, layers, heads_irrelevant=None, *, ratio=4):
    """One transformer layer times `layers`: two norms, four projections, the MLP."""
    norms, attention = 2 * 2 * width, 4 * (width * width + width)
    mlp = 2 * ratio * width * width + ratio * width + width
    return layers * (norms + attention + mlp)


def test_svilm_b_has_the_parameters_of_the_table():
    """svilm_jax/models/README.md derives 238,438,657 with BERT's vocabulary of 30,522."""
    from configs.pretrain.svilm_b import get_config as svilm_b

    d, groups = 768, 32
    video = (2 * 16 * 16 * 3) * d + d + (16 + 14 * 14 + groups) * d + by_hand(d, 12) + 2 * 2 * d
    block = 5 * 2 * d + 4 * (d * d + d) + 2 * (8 * d * d + 5 * d) + 4 * (d * d + d)
    text = (30_522 + 512 + 2) * d + 2 * d + by_hand(d, 12)
    total = video + 3 * block + text + 3 * d * 256 + 1
    _, abstract = abstract_model(resolve(svilm_b()), 30_522)
    assert count(nnx.to_pure_dict(abstract)) == total == 238_438_657


def test_scanned_layers_equal_the_same_layers_one_by_one():
    shared = {"width": 8, "heads": 2, "mlp_ratio": 2.0, "activation": "gelu", "pre_norm": True, "epsilon": 1e-6}
    shared |= {"attention": "xla", "dtype": jnp.float32}
    x = jax.random.normal(jax.random.key(0), (3, 5, 8))
    mask = jnp.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], bool)
    for remat in ("none", "dots", "full"):
        layers = TransformerStack(3, remat=remat, unroll=1, rngs=nnx.Rngs(0), **shared)
        graphdef, state = nnx.split(layers.stacked)
        expected = x
        for i in range(3):
            one: TransformerBlock = nnx.merge(graphdef, jax.tree.map(lambda leaf, i=i: leaf[i], state))
            expected = one(expected, mask)
        np.testing.assert_allclose(layers(x, mask), expected, atol=1e-5)


@pytest.fixture(scope="module")
def tiny():
    config = tiny_config()
    return config, build_model(config, 50)


def test_clips_do_not_see_each_other_and_shapes_are_as_documented(tiny):
    config, model = tiny
    video = jax.random.randint(jax.random.key(0), (3, 8, 16, 16, 3), 0, 256).astype(jnp.uint8)
    whole, alone = model.encode_video(video), model.encode_video(video[1:2])
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a[1:2], b, atol=1e-5)
    assert whole.tokens.shape == (3, 4, 4, 16)
    assert whole.group_tokens.shape == (3, 4, 16)
    assert [a.shape for a in whole.logits] == [(3, 4, 4, 2, 2)] * 2
    np.testing.assert_allclose(whole.assignments[0].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(whole.embedding, axis=-1), 1, atol=1e-5)


def test_padding_does_not_change_a_sentence(tiny):
    _, model = tiny
    tokens = jnp.array([[2, 9, 8, 3, 0, 0, 0, 0]])
    short = model.encode_text(tokens[:, :4], tokens[:, :4] != 0)
    np.testing.assert_allclose(model.encode_text(tokens, tokens != 0), short, atol=1e-5)
    nothing = model.encode_text(jnp.zeros((1, 8), int), jnp.zeros((1, 8), bool))
    assert np.isfinite(nothing).all()


def test_parameters_come_apart_and_together(tiny):
    config, model = tiny
    graphdef, abstract = abstract_model(config, 50)
    again = bind(graphdef, abstract, jax.tree.map(lambda p: p * 1, parameters(model)))
    tokens = jnp.array([[2, 5, 3]])
    np.testing.assert_array_equal(model.encode_text(tokens, tokens != 0), again.encode_text(tokens, tokens != 0))


def test_normalize_has_finite_gradients_at_zero():
    gradient = jax.grad(lambda x: normalize(x).sum())(jnp.zeros((2, 4)))
    assert np.isfinite(gradient).all()


def test_parameters_are_clipped_to_the_bounds_they_declare(tiny):
    _, model = tiny
    assert float(model.logit_scale) == pytest.approx(1 / 0.07, rel=1e-5)
    graphdef, abstract = abstract_model(tiny[0], 50)
    hot = jax.tree.map(lambda p: p + 9.0, parameters(model))
    clipped = within_bounds(hot, abstract)
    assert float(bind(graphdef, abstract, clipped).logit_scale) == pytest.approx(100.0, rel=1e-5)
    others = {name: value for name, value in clipped.items() if name != "log_scale"}
    jax.tree.map(np.testing.assert_array_equal, others, {name: hot[name] for name in others})


def test_flops_of_one_layer_by_the_compiler():
    size, tokens = Size(1, 64, 2), 48
    layer = TransformerBlock(64, 2, mlp_ratio=4.0, activation="relu", pre_norm=True, epsilon=1e-6, attention="xla",
                  dtype=jnp.float32, rngs=nnx.Rngs(0))  # fmt: skip
    graphdef, state = nnx.split(layer)
    run = jax.jit(lambda state, x: nnx.merge(graphdef, state)(x))
    counted = run.lower(state, jnp.zeros((1, tokens, 64))).compile().cost_analysis()["flops"]
    assert counted == pytest.approx(layer_flops(size, tokens, 4.0), rel=0.1)  # the compiler counts norms as well
    assert train_flops(tiny_config().model, 2) > 0


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.variant", "Bb", "did you mean 'B'"),
        ("model.grouping.assignment", "hrd", "did you mean 'hard'"),
        ("model.grouping.after_layers", (2, 1), "ascending"),
        ("model.grouping.after_layers", (3,), "the 2 layers"),
        ("model.video.image_size", 20, "not divisible into tubelets"),
        ("model.clip_pool", "token", "did you mean 'tokens'"),
        ("model.remat", "ful", "did you mean 'full'"),
        ("model.video.activation", "gelo", "did you mean 'gelu'"),
        ("model.attention", "xlaa", "did you mean 'xla'"),
        ("model.compute_dtype", "float31", "did you mean 'float32'"),
    ],
)
def test_mistakes_in_the_model_config_are_named(key, value, message):
    config = get_config()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(ConfigError, match=message):
        build_model(resolve(config), 50).encode_text(jnp.zeros((1, 4), int), jnp.ones((1, 4), bool))
