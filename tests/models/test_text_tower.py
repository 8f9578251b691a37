"""Tests of sentence pooling, by first token or mean over tokens, for any padding."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from svilm_jax.config import TextConfig
from svilm_jax.models.text_tower import TextTower
from svilm_jax.models.variants import Size

pytestmark = pytest.mark.usefixtures("compiled_in_haste")
TOKENS = np.array([[2, 5, 6, 3, 0, 0], [2, 7, 8, 9, 4, 3], [0, 0, 0, 0, 0, 0]], np.int32)


def tower(**fields):
    given = {"attention": "xla", "remat": "none", "unroll": 1, "dtype": jnp.dtype(jnp.float32)}
    return TextTower(TextConfig(max_positions=8, **fields), Size(1, 8, 2), 12, **given, rngs=nnx.Rngs(0))


def test_the_first_token_or_the_mean_of_the_real_ones():
    mask = TOKENS != 0
    tokens = np.asarray(tower().tokens(TOKENS, mask))
    np.testing.assert_allclose(tower()(TOKENS, mask), tokens[:, 0], atol=1e-6)
    # A row of padding alone is its first token: a mean of nothing would be no number.
    means = [tokens[0, :4].mean(axis=0), tokens[1].mean(axis=0), tokens[2, 0]]
    np.testing.assert_allclose(tower(pool="mean")(TOKENS, mask), means, atol=1e-6)


def test_padding_changes_nothing():
    longer = np.concatenate([TOKENS[:2], np.zeros((2, 2), np.int32)], axis=1)
    for pool in ("cls", "mean"):
        model = tower(pool=pool)
        np.testing.assert_allclose(model(longer, longer != 0), model(TOKENS[:2], TOKENS[:2] != 0), atol=1e-5)


def test_norms_have_the_epsilon_of_the_config():
    mask = TOKENS != 0
    assert np.abs(np.asarray(tower(norm_epsilon=0.5)(TOKENS, mask) - tower()(TOKENS, mask))).max() > 1e-2
