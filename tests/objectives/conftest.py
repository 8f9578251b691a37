"""Random outputs of a model, for objectives."""

import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.models.outputs import Outputs, VideoOutputs


def unit(rng, *shape):
    x = rng.normal(size=shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def made():
    """(outputs, batch) with B=6, Nt=4, Ns=4, D=8, M=3, K=2, C=5; one clip invalid, two captions short of phrases."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 3, 4, 2, 2)).astype(np.float32)
    outputs = Outputs(
        video=VideoOutputs(
            tokens=jnp.asarray(rng.normal(size=(6, 4, 4, 8)).astype(np.float32)),
            group_tokens=jnp.asarray(rng.normal(size=(6, 3, 8)).astype(np.float32)),
            logits=(jnp.asarray(logits),),
            assignments=(jnp.asarray(np.exp(logits) / np.exp(logits).sum(1, keepdims=True)),),
            embedding=jnp.asarray(unit(rng, 6, 5)),
            group_embedding=jnp.asarray(unit(rng, 6, 3, 5)),
        ),
        text_embedding=jnp.asarray(unit(rng, 6, 5)),
        noun_embedding=jnp.asarray(unit(rng, 6, 2, 5)),
        logit_scale=jnp.asarray(10.0),
    )
    batch = {
        "valid": jnp.array([True, True, True, False, True, True]),
        "noun_mask": jnp.array(
            [[True, True], [True, False], [False, False], [True, True], [True, True], [True, False]]
        ),
        "splice_mask": jnp.array(
            [[1, 1, 1, 0], [0, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1], [0, 1, 1, 1], [1, 1, 1, 0]], bool
        ),
        "spliced": jnp.array([True, True, True, False, True, True]),
    }
    return outputs, batch
