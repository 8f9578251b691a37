"""Tests of position embeddings: one table and two agree, and resampling keeps positions in place."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from svilm_jax.models.parameters import named
from svilm_jax.models.positions import resample_positions
from svilm_jax.models.svilm import build_model
from svilm_jax.training.optimizer import matrices
from tests.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("compiled_in_haste")


def model(table):
    config = tiny_config(**{"model.video.num_layers": 1, "model.grouping.after_layers": (1,), "model.attention": "xla"})
    video = dataclasses.replace(config.model.video, position_table=table)
    return build_model(dataclasses.replace(config, model=dataclasses.replace(config.model, video=video)), 50)


def test_one_table_starts_as_the_sum_of_two():
    video = np.random.default_rng(0).integers(0, 256, (1, 8, 16, 16, 3), np.uint8)
    joint, factorized = model("joint"), model("factorized")
    np.testing.assert_allclose(joint.encode_video(video).tokens, factorized.encode_video(video).tokens, atol=1e-5)
    assert joint.video_tower.joint_position.shape == (4 * 2 * 2, 16)
    assert not hasattr(joint.video_tower, "time_position")


def test_a_row_of_the_table_moves_its_token_alone():
    tower = model("joint").video_tower
    before = np.asarray(tower._positions())
    tower.joint_position[...] = tower.joint_position[...].at[1 * 4 + 3].add(1.0)  # time 1, place 3
    moved = np.abs(np.asarray(tower._positions()) - before).max(axis=-1) > 0.5
    assert np.argwhere(moved).tolist() == [[1, 3]]


def test_a_linear_table_stays_linear_on_another_grid():
    """Along each axis, in cells' coordinates; ends stay at the borders' cells."""
    before, after = (4, 2, 6), (8, 2, 3)

    def places(grid, axis):
        return (np.arange(grid[axis]) + 0.5) / grid[axis]

    def table(grid):
        t, y, x = np.meshgrid(*(places(grid, axis) for axis in range(3)), indexing="ij")
        return np.stack([t, y, x], axis=-1).reshape(-1, 3).astype(np.float32)

    found = np.asarray(resample_positions(jnp.asarray(table(before)), before, after)).reshape(*after, 3)
    expected = table(after).reshape(*after, 3)
    np.testing.assert_allclose(found[1:-1, :, 1:-1], expected[1:-1, :, 1:-1], atol=1e-6)
    np.testing.assert_allclose(found[0, 0, :, 0], 1 / 8, atol=1e-6)  # not drawn beyond the first cell's own value
    same = jnp.asarray(table(before))
    assert resample_positions(same, before, before) is same


def test_no_optimizer_takes_the_table_for_a_matrix():
    names = named(matrices(nnx.to_pure_dict(nnx.state(model("joint"), nnx.Param))))
    assert not names["video_tower.joint_position"]
    assert names["video_projection.kernel"]
