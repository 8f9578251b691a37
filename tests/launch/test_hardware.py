"""Tests of the names of accelerators."""

import pytest

from svilm_jax.config import ConfigError
from svilm_jax.launch.hardware import parse_hardware


@pytest.mark.parametrize(
    ("text", "topology", "chips", "machines", "gke", "sky"),
    [
        ("v5p-128", "4x4x4", 4, 16, "tpu-v5p-slice", "tpu-v5p-128"),  # cores: two per chip
        ("v5p-8", "2x2x1", 4, 1, "tpu-v5p-slice", "tpu-v5p-8"),
        ("tpu-v4-32", "2x2x4", 4, 4, "tpu-v4-podslice", "tpu-v4-32"),
        ("v5e-8", "2x4", 8, 1, "tpu-v5-lite-podslice", "tpu-v5litepod-8"),  # chips
        ("v5litepod-256", "16x16", 4, 64, "tpu-v5-lite-podslice", "tpu-v5litepod-256"),
        ("v6e-1", "1x1", 1, 1, "tpu-v6e-slice", "tpu-v6e-1"),
        ("v6e:4x8", "4x8", 4, 8, "tpu-v6e-slice", "tpu-v6e-32"),
        ("v5p:4x4x12", "4x4x12", 4, 48, "tpu-v5p-slice", ""),
        ("H100:8", "", 8, 1, "nvidia-h100-80gb", "H100:8"),
        ("h200:4", "", 4, 1, "nvidia-h200-141gb", "H200:4"),
        ("MI300X:8", "", 8, 1, "", "MI300X:8"),
    ],
)
def test_names(text, topology, chips, machines, gke, sky):
    found = parse_hardware(text)
    assert (found.topology, found.chips, found.machines) == (topology, chips, machines)
    assert (found.gke, found.sky) == (gke, sky)


def test_slices_and_machines_multiply_the_devices():
    slices, machines = parse_hardware("v5e-64", slices=2), parse_hardware("H100:8", nodes=4)
    assert (slices.devices, slices.islands) == (128, 2)
    assert (machines.devices, machines.islands) == (32, 4)  # JAX tells machines with GPUs apart like slices
    assert str(slices) == "2 slices of 16 x 4 TPU v5e, topology 8x8, 17 GB of memory each"
    assert str(parse_hardware("A100:8")) == "1 x 8 NVIDIA A100"  # 40 GB, unlike the A100 of the published figures


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("v5p-100", {}, "no such size; usual ones: v5p-8, v5p-16"),
        ("v5e-512", {}, "no such size"),
        ("v5p-7", {}, "no such size"),
        ("v5e:4x4x4", {}, "no such topology; usual ones: 1x1"),
        ("v5p:8x4x4", {}, "no such topology"),
        ("v5p:3x4x4", {}, "no such topology"),
        ("v7x-8", {}, "unknown TPU generation v7x"),
        ("H100", {}, "expected a TPU slice such as v5p-128"),
        ("H100:0", {}, "expected a TPU slice"),
        ("v5e-64", {"nodes": 2}, "--slices=N adds slices"),
        ("H100:8", {"slices": 2}, "--nodes=N is the number of machines"),
    ],
)
def test_refused_names(text, options, message):
    with pytest.raises(ConfigError, match=message):
        parse_hardware(text, **options)
