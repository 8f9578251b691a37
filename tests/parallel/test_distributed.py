"""Tests of meshes by name, and of axis sizes that the devices contradict."""

import numpy as np
import pytest

from svilm_jax.config import ConfigError, MeshConfig
from svilm_jax.parallel import make_mesh, named_mesh


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fsdp", MeshConfig("fsdp")),
        ("fsdp_tp:4", MeshConfig("fsdp_tp", tensor=4)),
        ("fsdp_seq:8", MeshConfig("fsdp_seq", seq=8)),
    ],
)
def test_a_mesh_by_its_name(text, expected):
    assert named_mesh(text, MeshConfig("fsdp_tp", tensor=2)) == expected


@pytest.mark.parametrize("text", ["fsdq", "fsdp:4", "fsdp_tp:x"])
def test_an_unknown_mesh_is_refused(text):
    with pytest.raises(ConfigError, match="--mesh="):
        named_mesh(text, MeshConfig())


class Device:
    """As much of a device as a mesh looks at."""

    platform, device_kind, process_index = "cpu", "cpu", 0

    def __init__(self, number, slice_index=0):
        self.id, self.slice_index = number, slice_index


def test_slices_that_the_devices_contradict_are_refused():
    devices = [Device(i, i // 2) for i in range(4)]
    with pytest.raises(ConfigError, match="lie in 2 slices"):
        make_mesh(MeshConfig("fsdp", num_slices=4), devices)
    with pytest.raises(ConfigError, match="config.mesh.num_slices=3"):
        make_mesh(MeshConfig("fsdp", num_slices=3), [Device(i) for i in range(4)])


def test_seq_belongs_to_its_preset():
    with pytest.raises(ConfigError, match="only the preset fsdp_seq"):
        make_mesh(MeshConfig("fsdp", seq=2), [Device(i) for i in range(4)])
    with pytest.raises(ConfigError, match="must divide"):
        make_mesh(MeshConfig("fsdp_seq", seq=3), np.array([Device(i) for i in range(4)]))
