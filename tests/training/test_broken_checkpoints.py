"""Tests of unreadable checkpoints: set aside, never deleted, and the run resumes from the previous one."""

import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from svilm_jax.checkpoints.errors import CheckpointError
from svilm_jax.checkpoints.manager import Checkpoints
from svilm_jax.checkpoints.metadata import FORMAT_VERSION, check_same_model, read_selection, write_selection
from svilm_jax.checkpoints.saved_arrays import read_params
from svilm_jax.checkpoints.train_state import StateSpec, TrainState
from svilm_jax.config import ConfigError, MeshConfig
from svilm_jax.parallel import make_mesh
from tests.tiny import tiny_config

ROOT = Path(__file__).parents[2]
STEPS = (2, 4, 6)


def state(step, rows=64):
    """Numbers that no two steps share, as many as fill a file of some size."""
    weights = np.random.default_rng(step).normal(size=(rows, 64)).astype(np.float32)
    moments = ({"tower": {"kernel": jnp.asarray(-weights)}}, {"count": jnp.asarray(step)})
    return TrainState(jnp.asarray(step), {"tower": {"kernel": jnp.asarray(weights)}}, moments, None)


def structure(rows=64):
    shapes = jax.eval_shape(lambda: state(0, rows))
    whole = NamedSharding(make_mesh(MeshConfig(), jax.devices()[:1]), PartitionSpec())
    return StateSpec(None, None, shapes, jax.tree.map(lambda _: whole, shapes), 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    checkpoints = Checkpoints(workdir, 5)
    for step in STEPS:
        checkpoints.save(step, state(step), {"step": step}, {"format_version": FORMAT_VERSION})
    checkpoints.close()
    return workdir


@pytest.fixture
def workdir(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "run"))


def restore(workdir, rows=64, check=lambda meta: None, begin=False):
    checkpoints = Checkpoints(workdir, 5)
    try:
        found = checkpoints.restore_newest(structure(rows), check)
        if begin:
            checkpoints.begin()
        return found
    finally:
        checkpoints.close()


def digest(folder):
    """Every file with its content, and every folder."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def files(checkpoint):
    return [file for file in checkpoint.glob("**/*") if file.is_file()]


def cut(checkpoint):
    """Every file of the arrays loses its second half, as where a copy was cut off."""
    for file in files(checkpoint / "state"):
        os.truncate(file, file.stat().st_size // 2)


def empty(checkpoint):
    for file in files(checkpoint):
        os.truncate(file, 0)


def without_data(checkpoint):
    """The largest file, which holds the numbers, is gone."""
    max(files(checkpoint / "state"), key=lambda file: file.stat().st_size).unlink()


def without_meta(checkpoint):
    shutil.rmtree(checkpoint / "meta")


def without_state(checkpoint):
    shutil.rmtree(checkpoint / "state")


def zeroed(checkpoint):
    """As long as before, and nothing in them: what some file systems leave after a crash."""
    for file in files(checkpoint / "state"):
        file.write_bytes(bytes(file.stat().st_size))


def flipped(checkpoint):
    """One bit in the middle of the numbers."""
    largest = max(files(checkpoint / "state"), key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, empty, without_data, without_meta, without_state, zeroed, flipped])
def test_a_broken_checkpoint_is_set_aside(workdir, caplog, damage):
    damage(workdir / "checkpoints" / "6")
    before = digest(workdir)
    step, restored = restore(workdir)
    assert step == 4
    assert digest(workdir) == before  # until the run is accepted
    restore(workdir, begin=True)
    np.testing.assert_array_equal(restored.params["tower"]["kernel"], state(4).params["tower"]["kernel"])
    assert "checkpoints/6 cannot be read" in caplog.text
    assert len(list((workdir / "broken_checkpoints").glob("6-*"))) == 1
    checkpoints = Checkpoints(workdir, 5)  # and its place is free again
    checkpoints.save(6, state(6), {"step": 6}, {"format_version": FORMAT_VERSION})
    checkpoints.close()
    assert restore(workdir)[0] == 6


@pytest.mark.parametrize("key", ["config", "tokenizer", "data", "checksums"])
def test_a_changed_meta_file_counts_as_broken(workdir, caplog, key):
    """Config, tokenizer, data position and arrays of a checkpoint belong together."""
    file = workdir / "checkpoints" / "6" / "meta" / "metadata"
    document = json.loads(file.read_text())
    document[key] = {"other": 1}
    file.write_text(json.dumps(document))
    assert restore(workdir)[0] == 4
    assert "were changed after it was saved" in caplog.text


def test_reading_leaves_a_save_under_way_alone(workdir):
    """`svilm eval` of a workdir that another process trains in."""
    unfinished = workdir / "checkpoints" / "8.orbax-checkpoint-tmp"
    (unfinished / "state").mkdir(parents=True)
    assert restore(workdir)[0] == 6
    assert unfinished.is_dir()


def test_orbax_warns_of_nothing(workdir, caplog):
    restore(workdir)
    read_params(workdir / "checkpoints" / "6", {})
    assert caplog.text == ""


def test_the_newest_whole_one_is_used(workdir):
    step, restored = restore(workdir)
    assert step == 6
    np.testing.assert_array_equal(restored.params["tower"]["kernel"], state(6).params["tower"]["kernel"])
    assert not (workdir / "broken_checkpoints").exists()


def test_without_any_there_is_nothing(tmp_path):
    assert restore(tmp_path) is None


def test_where_all_are_broken_nothing_starts_anew_in_silence(workdir):
    for step in STEPS:
        empty(workdir / "checkpoints" / str(step))
    before = digest(workdir)
    for _ in range(2):  # the second run does not start anew either
        with pytest.raises(CheckpointError, match=r"none of the checkpoints \[2, 4, 6\] can be read"):
            restore(workdir)
    assert digest(workdir) == before


def test_another_state_is_refused_and_not_taken_for_broken(workdir):
    with pytest.raises(
        CheckpointError, match=r"holds another state \(.*tower.kernel: saved \(64, 64\), now \(32, 64\)"
    ):
        restore(workdir, rows=32)
    assert not (workdir / "broken_checkpoints").exists()


def test_other_stages_of_the_optimizer_are_another_state(workdir):
    """The same arrays under the same names; a stage that keeps nothing is there or not."""
    wanted = structure()
    add = lambda state, kind: dataclasses.replace(state, optimizer=(*state.optimizer, kind()))  # noqa: E731
    wanted = dataclasses.replace(
        wanted, shapes=add(wanted.shapes, optax.EmptyState), shardings=add(wanted.shardings, optax.EmptyState)
    )
    checkpoints = Checkpoints(workdir, 5)
    with pytest.raises(CheckpointError, match=r"holds another state: the optimizer has other stages\. Restore"):
        checkpoints.restore_newest(wanted, lambda meta: None)
    checkpoints.close()


def test_a_run_without_a_start_does_not_resume_from_one():
    saved, now = tiny_config(), tiny_config(**{"init.checkpoint": "elsewhere"})
    with pytest.raises(ConfigError, match=r"^config\.init\.checkpoint=elsewhere: not used, as run holds a run that"):
        check_same_model(dataclasses.asdict(saved), now, Path("run"))
    check_same_model(dataclasses.asdict(now), tiny_config(**{"init.checkpoint": "moved"}), Path("run"))


def test_what_the_check_refuses_is_not_taken_for_broken(workdir):
    def refuse(meta):
        raise ConfigError("another model")

    with pytest.raises(ConfigError, match="another model"):
        restore(workdir, check=refuse)
    assert not (workdir / "broken_checkpoints").exists()


def train(dataset, workdir, limit=None):
    command = [sys.executable, "-m", "svilm_jax.main", "train", f"--config=tests/tiny.py:dataset={dataset}"]
    return subprocess.run(
        [*command, f"--workdir={workdir}", "--config.train.checkpoint_every=2", "--config.train.steps=3"],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "true"},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )


@pytest.mark.services
def test_a_disk_that_takes_no_more_is_told(moving_shapes, tmp_path):
    """Files may not grow beyond some kilobytes: what a full disk and a quota do to a save."""
    done = train(moving_shapes, tmp_path, limit=20_000)
    assert done.returncode == 2, done.stderr[-3000:]
    assert "a checkpoint cannot be saved" in done.stderr
    assert not (tmp_path / "metrics.json").exists()


def test_a_workdir_that_cannot_be_written_to_is_told(moving_shapes, tmp_path):
    (tmp_path / "file").write_text("")
    done = train(moving_shapes, tmp_path / "file" / "run")
    assert done.returncode == 2
    assert f"{tmp_path / 'file'} is a file, expected a folder" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["{", "[]", '{"grounding_block": null}', '{"grounding_block": NaN}', '{"a": 1}'])
def test_a_damaged_selection_does_not_prevent_loading(tmp_path, text, caplog):
    assert read_selection(tmp_path) == 0
    assert caplog.text == ""
    (tmp_path / "selection.json").write_text(text)
    assert read_selection(tmp_path) == 0
    assert "names no grouping block" in caplog.text


def test_a_selection_belongs_to_its_checkpoint_and_orbax_ignores_it(workdir, caplog):
    write_selection(workdir / "checkpoints" / "6", 2)
    assert [read_selection(workdir / "checkpoints" / str(step)) for step in STEPS] == [0, 0, 2]
    assert restore(workdir)[0] == 6
    read_params(workdir / "checkpoints" / "6", {})
    checkpoints = Checkpoints(workdir, 1)
    checkpoints.save(8, state(8), {"step": 8}, {"format_version": FORMAT_VERSION})
    checkpoints.close()
    assert [folder.name for folder in (workdir / "checkpoints").iterdir()] == ["8"]  # removed as a whole
    assert caplog.text == ""
