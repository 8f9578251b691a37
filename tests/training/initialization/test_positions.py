"""Tests of position tables that are resized to the grid of the run."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from svilm_jax.models.parameters import bind, parameters
from svilm_jax.training.initialization import initial_params, resolve_init
from tests.training.initialization.runs import drawn

TIME, SIDE, WIDTH = 4, 2, 16  # of the checkpoint
VIDEOS = [
    {"num_frames": 16},
    {"image_size": 32},
    {"num_frames": 4, "image_size": 8},
    {"num_frames": 24, "image_size": 24},
]


def with_positions(loaded, time, space):
    params = parameters(loaded.model)
    tower = {**params["video_tower"], "time_position": jnp.asarray(time), "space_position": jnp.asarray(space)}
    graphdef, state = nnx.split(loaded.model, nnx.Param)
    return dataclasses.replace(loaded, model=bind(graphdef, state, {**params, "video_tower": tower}))


def positions(finetuning, loaded, time, space, **video):
    """Both tables of a run whose video tower is changed: [Nt, D] and [rows, columns, D]."""
    start = resolve_init(finetuning({"video": video} if video else None))
    assert dataclasses.replace(start.config.model.video, num_frames=8, image_size=16) == loaded.config.model.video
    params = initial_params(drawn(start.config), with_positions(loaded, time, space), start.config)
    tower, side = params["video_tower"], start.config.model.video.image_size // 8
    return np.asarray(tower["time_position"]), np.asarray(tower["space_position"]).reshape(side, side, -1)


def test_positions_of_the_same_grid_stay_to_the_bit(finetuning, loaded):
    rng = np.random.default_rng(0)
    tables = [np.float32(rng.normal(size=(TIME, WIDTH))), np.float32(rng.normal(size=(SIDE * SIDE, WIDTH)))]
    for video in ({}, {"num_frames": 8, "image_size": 16}):
        time, space = positions(finetuning, loaded, *tables, **video)
        np.testing.assert_array_equal(time, tables[0])
        np.testing.assert_array_equal(space.reshape(-1, WIDTH), tables[1])


@pytest.mark.parametrize("video", VIDEOS)
def test_equal_positions_stay_equal(finetuning, loaded, video):
    one = np.linspace(-1, 1, WIDTH, dtype=np.float32)
    time, space = positions(finetuning, loaded, np.tile(one, (TIME, 1)), np.tile(one, (SIDE * SIDE, 1)), **video)
    assert len(time) == video.get("num_frames", 8) // 2
    assert len(space) == video.get("image_size", 16) // 8
    np.testing.assert_allclose(time, np.broadcast_to(one, time.shape), atol=1e-6)
    np.testing.assert_allclose(space, np.broadcast_to(one, space.shape), atol=1e-6)


@pytest.mark.parametrize("video", VIDEOS)
def test_a_ramp_stays_a_ramp_between_the_outer_middles(finetuning, loaded, video):
    """Vectors stand at the middles of their cells; beyond the outermost middles nothing is made up."""

    def places(new, old):
        return np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)

    slopes = np.linspace(1, 2, WIDTH, dtype=np.float32)
    rows, columns = np.divmod(np.arange(SIDE * SIDE), SIDE)
    time, space = positions(
        finetuning, loaded, np.outer(np.arange(TIME), slopes), np.outer(rows + 10 * columns, slopes), **video
    )
    np.testing.assert_allclose(time, np.outer(places(len(time), TIME), slopes), atol=1e-5)
    side = places(len(space), SIDE)
    expected = side[:, None, None] * slopes + 10 * side[None, :, None] * slopes
    np.testing.assert_allclose(space, expected, atol=1e-4)
