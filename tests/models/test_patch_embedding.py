"""Tests of tubelets and their embedding against loops over pixels."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from svilm_jax.config import ConfigError, VideoConfig
from svilm_jax.models.patch_embedding import PIXEL_MEAN, PIXEL_STD, PatchEmbedding
from svilm_jax.profiling.model_flops import video_flops
from tests.tiny import tiny_config

CONFIG = VideoConfig(num_frames=4, image_size=16, tubelet_size=(2, 8, 8), activation="relu")


def video():
    return np.random.default_rng(0).integers(0, 256, (2, 4, 16, 16, 3), dtype=np.uint8)


def embed(config, width=6):
    module = PatchEmbedding(config, width, dtype=jnp.dtype(jnp.float32), rngs=nnx.Rngs(0))
    for _, variable in nnx.to_flat_state(nnx.state(module, nnx.Param)):  # biases start at zero, where they show nothing
        if variable[...].ndim == 1:
            variable[...] = jnp.linspace(-0.1, 0.1, variable[...].size)
    return module


def normalized(pixels):
    return (pixels / 255 - np.array(PIXEL_MEAN)) / np.array(PIXEL_STD)


def apply(linear, x):
    return x.reshape(-1) @ np.asarray(linear.kernel[...], np.float64) + np.asarray(linear.bias[...], np.float64)


def test_the_linear_embedding_is_a_product_with_every_tubelet():
    module, clips = embed(CONFIG), video()
    got = np.asarray(module(jnp.asarray(clips)))
    assert got.shape == (2, 2, 4, 6)
    for clip, time, row, column in itertools.product(range(2), range(2), range(2), range(2)):
        box = clips[clip, 2 * time : 2 * time + 2, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        expected = apply(module.linear, normalized(box))
        np.testing.assert_allclose(got[clip, time, 2 * row + column], expected, atol=1e-4)


def convolve(x, layer, stride, overlaps):
    """[h, w, c] -> [h / stride, w / stride, c'], place by place; half a stride around it where squares overlap."""
    rows, columns, half = x.shape[0] // stride, x.shape[1] // stride, stride // 2 if overlaps else 0
    padded = np.zeros((x.shape[0] + 2 * half, x.shape[1] + 2 * half, x.shape[2]))
    padded[half : half + x.shape[0], half : half + x.shape[1]] = x
    side = stride + 2 * half
    out = [
        apply(layer, padded[r * stride : r * stride + side, c * stride : c * stride + side])
        for r, c in itertools.product(range(rows), range(columns))
    ]
    return np.stack(out).reshape(rows, columns, -1)


@pytest.mark.parametrize("strides", [(2, 4), (4, 2), (2, 2, 2), (8,)])
def test_a_stem_convolves_all_frames_of_a_tubelet_at_once(strides):
    module, clips = embed(dataclasses.replace(CONFIG, stem=strides)), video()
    got = np.asarray(module(jnp.asarray(clips)))
    assert got.shape == (2, 2, 4, 6)
    layers = [*module.stem.values(), module.linear]
    for clip, time in itertools.product(range(2), range(2)):
        x = np.concatenate(list(normalized(clips[clip, 2 * time : 2 * time + 2])), axis=-1)  # [16, 16, 2 frames of 3]
        for number, (layer, stride) in enumerate(zip(layers, strides, strict=True)):
            x = convolve(x, layer, stride, overlaps=number > 0)
            x = x if layer is layers[-1] else np.maximum(x, 0)
        np.testing.assert_allclose(got[clip, time], x.reshape(4, 6), atol=1e-4, rtol=1e-4)


def test_a_token_sees_twelve_pixels_beyond_its_patch():
    config = VideoConfig(num_frames=2, image_size=112, tubelet_size=(2, 16, 16), stem=(4, 2, 2), activation="gelu")
    module = embed(config)
    clip = jnp.full((1, 2, 112, 112, 3), 0.5)
    middle = 3 * 7 + 3  # the patch of rows and columns 48 to 63
    seen = jax.grad(lambda v: (module(v)[0, 0, middle] ** 2).sum())(clip)
    rows = np.flatnonzero(np.abs(np.asarray(seen)).sum(axis=(0, 1, 3, 4)))
    assert (rows.min(), rows.max()) == (48 - 12, 63 + 12)


def test_bytes_and_shares_of_one_give_the_same():
    module = embed(dataclasses.replace(CONFIG, stem=(4, 2)))
    np.testing.assert_allclose(module(jnp.asarray(video())), module(jnp.asarray(video() / 255, jnp.float32)), atol=1e-5)


def test_flops_of_a_stem_are_those_of_its_products():
    config = tiny_config().model  # 16 tubelets of 2x8x8 pixels, width 16
    stemmed = dataclasses.replace(config, video=dataclasses.replace(config.video, stem=(2, 4)))
    linear = 2 * 16 * (2 * 8 * 8 * 3) * 16
    stem = 2 * 16 * 16 * (2 * 2 * 6) * 32 + 2 * 16 * (8 * 8 * 32) * 16  # 16 squares of 2x2 pixels, then 8x8 of them
    assert video_flops(stemmed) - video_flops(config) == stem - linear


@pytest.mark.parametrize("stem", [(3,), (4, 4), (1, 8), (2, 2)])
def test_a_stem_that_does_not_make_up_a_patch_is_refused(stem):
    with pytest.raises(ConfigError, match=r"config\.model\.video\.stem=.*8x8"):
        embed(dataclasses.replace(CONFIG, stem=stem))


def test_gradients_reach_every_layer_of_the_stem():
    module = embed(dataclasses.replace(CONFIG, stem=(2, 4)))
    gradients = nnx.grad(lambda m: (m(jnp.asarray(video())) ** 2).mean())(module)
    assert all(float(jnp.abs(g).max()) > 0 for g in jax.tree.leaves(gradients))
