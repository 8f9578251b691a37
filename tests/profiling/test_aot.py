"""Tests of plans for given devices, and for a TPU pod where libtpu is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parallel.processes import rows_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def plans():
    return {row.pop("mesh_name"): row for row in rows_of("tests.training.plans_on_devices")}


def test_bytes_are_those_of_one_device(plans):
    whole, shared = plans["dp"], plans["fsdp"]
    assert whole["parameter_bytes"] == 4 * whole["parameters"]
    assert whole["optimizer_bytes"] == pytest.approx(2 * whole["parameter_bytes"], rel=0.01)  # AdamW's two moments
    assert shared["parameter_bytes"] == pytest.approx(whole["parameter_bytes"] / 8, rel=0.15)
    assert shared["optimizer_bytes"] == pytest.approx(whole["optimizer_bytes"] / 8, rel=0.15)
    assert whole["batch_bytes"] == shared["batch_bytes"] > 2 * 8 * 16 * 16 * 3


def test_the_peak_is_the_sum_of_its_parts_and_fits_or_not(plans):
    for name, plan in plans.items():
        parts = ("parameter_bytes", "optimizer_bytes", "batch_bytes", "activation_bytes")
        assert sum(plan[part] for part in parts) == plan["peak_hbm_bytes"]
        assert plan["fits"] == (plan["peak_hbm_bytes"] <= plan["hbm_bytes"]) == (name != "small")


def test_what_has_to_be_sent(plans):
    """Replicated parameters: their gradients are summed over all devices. Sharded ones are gathered, too."""
    whole, shared = plans["dp"], plans["fsdp"]
    assert sum(whole["collective_bytes"].values()) >= 2 * whole["parameter_bytes"] * 7 / 8
    assert "all-gather" in shared["collective_bytes"]


def test_times_are_those_of_the_published_figures(plans):
    plan = plans["dp"]
    assert plan["compute_seconds"] == pytest.approx(plan["flops_per_chip"] / 1e12)
    assert plan["network_seconds"] == pytest.approx(sum(plan["collective_bytes"].values()) / 1e9)
    assert plan["estimated_step_seconds"] == max(plan[f"{n}_seconds"] for n in ("compute", "memory", "network"))
    assert plan["estimated_mfu"] == pytest.approx(plan["model_flops"] / 8 / plan["estimated_step_seconds"] / 1e12)


def compile_command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "svilm_jax.main", "compile", "--config=tests/tiny.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_topology_that_does_not_exist_is_told():
    done = compile_command("--topology=v5e:3")
    assert done.returncode == 2
    assert "--topology=v5e:3" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.environment("tpu")
def test_a_pod_that_is_not_there(tmp_path):
    out = tmp_path / "plan.json"
    done = compile_command("--topology=v5e:2x2", "--mesh=fsdp", f"--out={out}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "ESTIMATE step" in done.stdout
    plan = json.loads(out.read_text())
    assert plan["fits"]
    assert plan["chips"] == 4
    assert plan["hbm_bytes"] == 16 * 2**30
