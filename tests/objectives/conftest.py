"""Fixtures with random model outputs, for objectives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.models.outputs import Outputs, VideoOutputs


def unit(rng, *shape):
    x = rng.normal(size=shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def random_outputs(video, text, groups, nouns, scale):
    """Outputs of given embeddings; what the contrasts do not read is noise of the right shapes."""
    rng = np.random.default_rng(0)
    batch, members = groups.shape[:2]
    logits = jnp.asarray(rng.normal(size=(batch, members, 4, 2, 2)).astype(np.float32))
    return Outputs(
        video=VideoOutputs(
            tokens=jnp.asarray(rng.normal(size=(batch, 4, 4, 8)).astype(np.float32)),
            group_tokens=jnp.asarray(rng.normal(size=(batch, members, 8)).astype(np.float32)),
            logits=(logits,),
            assignments=(jax.nn.softmax(logits, axis=1),),
            embedding=video,
            group_embedding=groups,
        ),
        text_embedding=text,
        noun_embedding=nouns,
        logit_scale=jnp.asarray(scale),
    )


@pytest.fixture
def made():
    """(outputs, batch) with B=6, Nt=4, Ns=4, D=8, M=3, K=2, C=5; one clip invalid, two captions short of phrases."""
    rng = np.random.default_rng(0)
    embeddings = (unit(rng, 6, 5), unit(rng, 6, 5), unit(rng, 6, 3, 5), unit(rng, 6, 2, 5))
    outputs = random_outputs(*map(jnp.asarray, embeddings), 10.0)
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
