"""Tests of the parameter table, and that clu does not import TensorFlow."""

import subprocess
import sys

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from svilm_jax.training.parameter_table import parameter_table


def test_every_parameter_has_a_line():
    mesh = jax.make_mesh((1, 1), ("fsdp", "tensor"))
    sharded, replicated = NamedSharding(mesh, PartitionSpec("fsdp")), NamedSharding(mesh, PartitionSpec())
    params = {"tower": {"layers": [{"kernel": jnp.zeros((3, 4))}], "scale": jax.ShapeDtypeStruct((5,), jnp.bfloat16)}}
    shardings = {"tower": {"layers": [{"kernel": sharded}], "scale": replicated}}
    table = parameter_table(params, shardings)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert ["tower.layers.0.kernel", "(3, 4)", "float32", "12"] in [line[:4] for line in lines]
    assert ["tower.scale", "(5,)", "bfloat16", "5"] in [line[:4] for line in lines]
    assert any("fsdp" in line[-1] for line in lines if line)
    assert "Total: 17" in table


def test_clu_brings_no_other_framework():
    code = "import sys, clu.parameter_overview; sys.exit(bool({'tensorflow', 'torch'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True)
