"""Tests of the training loop: non-finite losses with their cause."""

import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.parallel import make_mesh
from svilm_jax.text.tokenizers import load_tokenizer
from svilm_jax.training.loop import NonFiniteError, _check_finite, train
from tests.tiny import tiny_config

FINE = {
    "loss/total": 1.0,
    "loss/a": 0.4,
    "loss/b": 0.6,
    "norm/gradient": 2.0,
    "gradient_squares": jnp.array([1.0, 3.0]),
}
PARAMS = {"tower": {"kernel": jnp.zeros(2)}, "zoo": jnp.zeros(1)}


def test_a_finite_step_passes():
    _check_finite(FINE, 3, PARAMS)
    _check_finite(None, 3, PARAMS)


def test_the_loss_that_broke_is_named():
    with pytest.raises(NonFiniteError, match=r"step 3: the loss of b is not finite"):
        _check_finite({**FINE, "loss/total": np.nan, "loss/b": np.inf, "norm/gradient": np.nan}, 3, PARAMS)


def test_the_gradient_that_broke_is_named():
    broken = {**FINE, "norm/gradient": np.nan, "gradient_squares": jnp.array([1.0, jnp.nan])}
    with pytest.raises(NonFiniteError, match=r"the gradient of zoo is not finite"):
        _check_finite(broken, 3, PARAMS)


def test_a_run_that_diverges_stops_and_keeps_no_broken_checkpoint(moving_shapes, tmp_path):
    changes = {"optimizer.learning_rate": 1e30, "optimizer.clip_norm": 0.0, "optimizer.warmup_fraction": 0.0}
    config = tiny_config(moving_shapes, **changes, **{"train.checkpoint_every": 1, "optimizer.name": "sgd"})
    tokenizer = load_tokenizer(config.tokenizer.path)
    with pytest.raises(NonFiniteError, match="lower"):
        train(config, tmp_path, tokenizer, make_mesh(config.mesh))
    from svilm_jax.checkpoints import load
    from svilm_jax.checkpoints.errors import CheckpointError

    try:
        loaded = load(tmp_path)
    except CheckpointError:
        return
    assert np.isfinite(np.asarray(loaded.model.video_projection.kernel[...])).all()
