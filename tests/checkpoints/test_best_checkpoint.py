"""Tests of the best checkpoint among those of a workdir: kept beside the newest ones, and found again."""

import jax.numpy as jnp
import pytest

from svilm_jax.checkpoints.errors import CheckpointError
from svilm_jax.checkpoints.manager import Checkpoints
from svilm_jax.checkpoints.train_state import TrainState
from svilm_jax.config import BestConfig

STATE = TrainState(jnp.int32(0), {"kernel": jnp.zeros(2)}, {"count": jnp.int32(0)}, None)
# step -> value; None: saved without an evaluation
VALUES = {1: None, 2: 0.2, 3: 0.7, 4: 0.7, 5: None, 6: 0.1}


def steps(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())


@pytest.mark.parametrize(
    ("mode", "keep", "best", "kept"),
    [("max", 1, (3, 0.7), [3, 6]), ("max", 2, (3, 0.7), [3, 5, 6]), ("min", 1, (6, 0.1), [6])],
)
def test_the_best_one_is_kept_beside_the_newest(tmp_path, mode, keep, best, kept):
    config = BestConfig("validation/loss", mode)
    checkpoints = Checkpoints(tmp_path, keep, config)
    assert checkpoints.best() is None
    for step, value in VALUES.items():
        measured = None if value is None else {config.metric: value}
        checkpoints.save(step, STATE, {}, {"format_version": 2}, measured)
    checkpoints.close()
    assert steps(tmp_path) == kept
    for selected_by, found in ((config, best), (BestConfig("another", mode), None), (BestConfig(), None), (None, None)):
        again = Checkpoints(tmp_path, None, selected_by)
        assert again.best() == found
        again.close()


def test_damaged_metrics_are_named(tmp_path):
    config = BestConfig("validation/loss")
    checkpoints = Checkpoints(tmp_path, 1, config)
    checkpoints.save(1, STATE, {}, {"format_version": 2}, {config.metric: 0.5})
    checkpoints.close()
    (tmp_path / "checkpoints" / "1" / "metrics" / "metrics").write_text("{")
    with pytest.raises(CheckpointError, match="the metrics of a checkpoint cannot be read"):
        Checkpoints(tmp_path, 1, config)
