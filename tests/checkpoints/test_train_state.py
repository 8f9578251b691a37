"""Tests of the state's description: shardings of optimizer statistics."""

import jax
import pytest
from flax import nnx
from jax.sharding import PartitionSpec

from svilm_jax.checkpoints import train_state
from svilm_jax.models.parameters import named, path_name
from svilm_jax.parallel import make_mesh
from svilm_jax.training.optimizer import make_optimizer
from tests.tiny import tiny_config


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_optimizer_statistics_are_sharded_like_their_parameters(name, monkeypatch):
    config = tiny_config(**{"optimizer.name": name, "optimizer.muon_start_fraction": 0.5})
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    # On one device all shardings are equal; names as partitions tell them apart.
    monkeypatch.setattr(
        "svilm_jax.checkpoints.train_state.parameter_shardings", lambda abstract, mesh: _names(abstract)
    )
    spec = train_state.make_state_spec(config, 50, 0, make_optimizer(config.optimizer, 10), mesh)
    shapes, found = named(spec.shapes.optimizer), named(spec.shardings.optimizer)
    assert shapes.keys() == found.keys()
    matched = set()
    for key, sharding in found.items():
        if isinstance(sharding, str):
            assert key.endswith(f".{sharding}")
            matched.add(sharding)
        else:
            assert sharding.spec == PartitionSpec()
            assert key.rpartition(".")[2] in ("count", "steps", "ns_coeffs"), key
    assert matched == set(named(spec.shapes.params))


def _names(abstract):
    return jax.tree_util.tree_map_with_path(lambda path, _: path_name(path), nnx.to_pure_dict(abstract))
