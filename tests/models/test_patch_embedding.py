"""Tubelets and their embedding against loops over pixels."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from svilm_jax.config import ConfigError, VideoConfig
from svilm_jax.models.flops import video_flops
from svilm_jax.models.patch_embedding import PIXEL_MEAN, PIXEL_STD, PatchEmbedding
from tests.tiny import tiny_config

CONFIG = VideoConfig(frames=4, size=16, tubelet=(2, 8, 8), activation="relu")


def video():
    return np.random.default_rng(0).integers(0, 256, (2, 4, 16, 16, 3), dtype=np.uint8)


def embed(config, width=6):
    module = PatchEmbedding(config, width, dtype=jnp.dtype(jnp.float32), rngs=nnx.Rngs(0))
    for _, variable in nnx.to_flat_state(nnx.state(module, nnx.Param)):  # biases start at zero, where they show nothing
        if variable[...].ndim == 1:
            variable[...] = jnp.linspace(-0.1, 0.1, variable[...].size)
    return module


def normalised(pixels):
    return (pixels / 255 - np.array(PIXEL_MEAN)) / np.array(PIXEL_STD)


def apply(linear, x):
    return x.reshape(-1) @ np.asarray(linear.kernel[...], np.float64) + np.asarray(linear.bias[...], np.float64)


def test_the_linear_embedding_is_a_product_with_every_tubelet():
    module, clips = embed(CONFIG), video()
    got = np.asarray(module(jnp.asarray(clips)))
    assert got.shape == (2, 2, 4, 6)
    for clip, time, row, column in itertools.product(range(2), range(2), range(2), range(2)):
        box = clips[clip, 2 * time : 2 * time + 2, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        expected = apply(module.linear, normalised(box))
        np.testing.assert_allclose(got[clip, time, 2 * row + column], expected, atol=1e-4)


@pytest.mark.parametrize(("small", "factor"), [(2, 2), (4, 2), (2, 4)])
def test_a_stem_merges_squares_of_one_frame_and_frames_last(small, factor):
    module, clips = embed(dataclasses.replace(CONFIG, stem=(small, factor))), video()
    got = np.asarray(module(jnp.asarray(clips)))
    first, second = module.stem["layer1"], module.stem["layer2"]
    large = small * factor
    for clip, time, row, column in itertools.product(range(2), range(2), range(2), range(2)):
        box = normalised(clips[clip, 2 * time : 2 * time + 2, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8])
        merged = []
        for frame, y, x in itertools.product(range(2), range(0, 8, large), range(0, 8, large)):
            squares = [
                np.maximum(apply(first, box[frame, y + dy : y + dy + small, x + dx : x + dx + small]), 0)
                for dy, dx in itertools.product(range(0, large, small), repeat=2)
            ]
            merged.append(np.maximum(apply(second, np.stack(squares)), 0))
        np.testing.assert_allclose(
            got[clip, time, 2 * row + column], apply(module.linear, np.stack(merged)), atol=1e-4, rtol=1e-4
        )


def test_bytes_and_shares_of_one_give_the_same():
    module = embed(dataclasses.replace(CONFIG, stem=(4,)))
    np.testing.assert_allclose(module(jnp.asarray(video())), module(jnp.asarray(video() / 255, jnp.float32)), atol=1e-5)


def test_flops_of_a_stem_are_those_of_its_products():
    config = tiny_config().model  # 16 tubelets of 2x8x8 pixels, width 16
    stemmed = dataclasses.replace(config, video=dataclasses.replace(config.video, stem=(2,)))
    linear = 2 * 16 * (2 * 8 * 8 * 3) * 16
    stem = 2 * 16 * 32 * (2 * 2 * 3) * 32 + 2 * 16 * (32 * 32) * 16  # 32 squares a tubelet, 32 outputs each
    assert video_flops(stemmed) - video_flops(config) == stem - linear


@pytest.mark.parametrize("stem", [(3,), (4, 4), (1,)])
def test_a_stem_that_does_not_divide_a_patch_is_refused(stem):
    with pytest.raises(ConfigError, match=r"config\.model\.video\.stem=.*8x8"):
        embed(dataclasses.replace(CONFIG, stem=stem))


def test_gradients_reach_every_layer_of_the_stem():
    module = embed(dataclasses.replace(CONFIG, stem=(2, 2)))
    gradients = nnx.grad(lambda m: (m(jnp.asarray(video())) ** 2).mean())(module)
    assert all(float(jnp.abs(g).max()) > 0 for g in jax.tree.leaves(gradients))
