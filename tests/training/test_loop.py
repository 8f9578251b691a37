"""Tests of the training loop: non-finite losses with their cause, averaged parameters, truncated logs."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.filesystem.log_lines import read_lines
from svilm_jax.parallel import make_mesh
from svilm_jax.text.tokenizers import load_tokenizer
from svilm_jax.training.loop import NonFiniteError, _check_finite, train
from svilm_jax.training.metric_writers import MetricWriter
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


def test_the_log_of_a_resumed_run_has_no_line_twice(tmp_path):
    writer = MetricWriter(tmp_path, 0)
    for step in (1, 2, 3):
        writer.write_scalars(step, {"loss": float(step)})
    writer.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # killed in the middle of a line
    writer = MetricWriter(tmp_path, 2)
    writer.write_scalars(3, {"loss": 30.0})
    writer.close()
    assert [(line["step"], line["loss"]) for line in read_lines(tmp_path / "metrics.jsonl")] == [
        (1, 1),
        (2, 2),
        (3, 30),
    ]
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        json.loads(line)
