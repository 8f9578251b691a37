"""Tests that a checkpoint restores bit-identically on every mesh, and that a clock set back does no harm."""

import itertools
import time

import pytest

from svilm_jax.checkpoints import load
from svilm_jax.filesystem.log_lines import read_lines
from svilm_jax.parallel import make_mesh
from svilm_jax.text.tokenizers import load_tokenizer
from svilm_jax.training.loop import train
from tests.parallel.processes import rows_of
from tests.tiny import tiny_config
from tests.training.restores_on_devices import MESHES, SAVED


@pytest.fixture(scope="module")
def restored(tmp_path_factory):
    rows = rows_of("tests.training.restores_on_devices", str(tmp_path_factory.mktemp("runs")))
    return {(row["saved"], row["restored"]): row for row in rows}


@pytest.mark.parametrize(("saved", "mesh"), list(itertools.product(SAVED, MESHES)))
def test_every_bit_is_the_same_on_another_mesh(restored, saved, mesh):
    row = restored[saved, mesh]
    assert row["arrays"] > 100
    assert row["step"] == 3
    assert row["same_bits"]
    assert row["placed"]  # where that mesh wants it, and not where it was


@pytest.mark.services
def test_a_clock_that_goes_back_loses_nothing(moving_shapes, tmp_path, monkeypatch):
    """Between two runs by a day, and by an hour at every look."""

    def run(steps):
        config = tiny_config(moving_shapes, **{"train.steps": steps, "train.checkpoint_every": 1})
        return train(config, tmp_path, load_tokenizer(config.tokenizer.path), make_mesh(config.mesh))

    run(2)
    now, looks = time.time, itertools.count()
    monkeypatch.setattr(time, "time", lambda: now() - 86_400 - 3600 * next(looks))
    assert run(4).step == 4
    assert next(looks) > 1
    assert [line["step"] for line in read_lines(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4]
    assert load(tmp_path).step == 4
