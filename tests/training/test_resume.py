"""Tests that a run stopped by SIGTERM resumes exactly: same data, bit-identical parameters, with real processes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from svilm_jax.checkpoints import load
from svilm_jax.checkpoints.errors import CheckpointError
from svilm_jax.main import main
from svilm_jax.models.parameters import parameters
from svilm_jax.training.workdir import held_workdir

ROOT = Path(__file__).parents[2]


def arguments(dataset, workdir, *more):
    config = f"--config=tests/tiny.py:dataset={dataset}"
    # The optimizer with the most to remember: it changes hands in the middle of the run.
    muon = ["--config.optimizer.name=muon", "--config.optimizer.muon_start_fraction=0.5"]
    return [sys.executable, "-m", "svilm_jax.main", "train", config, f"--workdir={workdir}", *muon, *more]


def options():
    return {"cwd": ROOT, "env": {**os.environ, "JAX_PLATFORMS": "cpu"}, "text": True}


def run(dataset, workdir, *more):
    return subprocess.run(arguments(dataset, workdir, *more), capture_output=True, check=False, **options())


@pytest.fixture(scope="module")
def whole(moving_shapes, tmp_path_factory):
    """A run that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("whole")
    done = run(moving_shapes, workdir)
    assert done.returncode == 0, done.stderr[-3000:]
    return workdir


@pytest.fixture(scope="module")
def stopped(moving_shapes, tmp_path_factory):
    """The same run, stopped by SIGTERM after some steps and started again."""
    workdir = tmp_path_factory.mktemp("stopped")
    cache = f"--config.train.compilation_cache={tmp_path_factory.mktemp('compiled')}"
    # Several at once, as wrappers and schedulers do.
    signals = ["tests.training.stopped_at_step", "3", "SIGTERM,SIGTERM,SIGHUP,SIGUSR1"]
    command = [part for part in arguments(moving_shapes, workdir, cache) if part != "svilm_jax.main"]
    command[2:2] = signals
    first = subprocess.run(command, capture_output=True, check=False, **options())
    error = first.stderr
    assert first.returncode == 75, error[-3000:]
    assert re.search("stopped by SIG(TERM|HUP|USR1) at step", error)  # the system chooses which one comes first
    assert "Metadata file does not exist" not in error
    assert not (workdir / "metrics.json").exists()
    step = load(workdir).step
    assert 2 <= step < 6
    told = {"env": {**options()["env"], "JAX_LOG_COMPILES": "1"}}
    command = arguments(moving_shapes, workdir, cache)
    second = subprocess.run(command, capture_output=True, check=False, **{**options(), **told})
    assert second.returncode == 0, second.stderr[-3000:]
    (workdir / "second.log").write_text(second.stderr)
    return workdir


@pytest.mark.services
def test_what_was_compiled_is_not_compiled_again(stopped):
    assert "Persistent compilation cache hit for 'jit_step'" in (stopped / "second.log").read_text()


def test_parameters_are_bit_identical(whole, stopped):
    one, two = load(whole), load(stopped)
    assert one.step == two.step == 6
    for a, b in zip(jax.tree.leaves(parameters(one.model)), jax.tree.leaves(parameters(two.model)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_step_is_logged_once_with_the_same_loss(whole, stopped):
    def losses(workdir):
        lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        return [(line["step"], line["loss/total"], line["norm/gradient"]) for line in lines]

    assert [step for step, *_ in losses(stopped)] == [1, 2, 3, 4, 5, 6]
    assert losses(whole) == losses(stopped)


def test_metrics_json_is_there_only_at_the_end_with_flat_scalars(whole):
    metrics = json.loads((whole / "metrics.json").read_text())
    assert metrics["train/steps"] == 6
    assert [record["name"] for record in metrics.pop("records")][-2:] == ["train/steps", "train/seconds"]
    assert all(isinstance(value, (int, float)) for value in metrics.values())


def digest(folder):
    """Every file with its content, and every folder."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def command(dataset, workdir, *more):
    """The same command in this process, which is quicker."""
    return main(arguments(dataset, workdir, *more)[3:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("config.model.embed_dim=8", "config.model.embed_dim was 16, is 8"),
        ("config.train.seed=5", "seed was 0 and is 5"),
        ("config.train.batch_size=4", "batch_size was 8 and is 4"),
        ("config.train.steps=4", "is at step 6, beyond the 4 steps"),
        ("config.optimizer.ema_decay=0.5", "holds another state"),
        ("config.tokenizer.lowercase=False", "was trained with another tokenizer"),
        ("config.input.dataset=/nowhere", "/nowhere: no such folder"),
        ("config.trian.steps=3", "trian"),
    ],
)
def test_a_refused_command_changes_nothing(whole, moving_shapes, change, message, capsys):
    before = digest(whole)
    assert command(moving_shapes, whole, f"--{change}") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert digest(whole) == before


def test_a_new_workdir_is_not_made_by_a_refused_command(moving_shapes, tmp_path, capsys):
    assert command("/nowhere", tmp_path / "new" / "run") == 2
    assert command(moving_shapes, tmp_path / "new" / "run", "--config.splice.block=3") == 2
    assert "splice" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_workdir_in_use_is_refused_and_can_be_read(whole, moving_shapes, capsys):
    with held_workdir(whole):
        before = digest(whole)
        assert command(moving_shapes, whole) == 2
        assert f"--workdir={whole}: in use by process {os.getpid()} on " in capsys.readouterr().err
        assert load(whole).step == 6
        assert digest(whole) == before


def test_loading_warns_of_nothing(whole, caplog):
    load(whole)
    assert caplog.text == ""


def test_a_folder_without_checkpoints_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="expected a --workdir"):
        load(tmp_path)
