"""Tests that every sharding preset computes the same as one device, and shards its arrays."""

import pytest

from tests.parallel.processes import rows_of


@pytest.fixture(scope="module")
def presets():
    return {(row["kind"], row["preset"]): row for row in rows_of("tests.parallel.eight_devices")}


@pytest.mark.parametrize(
    ("kind", "preset"),
    [
        *(("pretraining", preset) for preset in ("dp", "fsdp", "fsdp_tp", "fsdp_seq", "slices")),
        ("gradcache", "fsdp_seq"),
        ("questions", "fsdp_tp"),
        ("localization", "dp"),
    ],
)
def test_loss_and_gradients_equal_one_device(presets, kind, preset):
    row = presets[kind, preset]
    assert min(row["losses"].values()) > 1e-2
    assert row["loss"] < 1e-5
    # Of the largest entry: sums in another order move a gradient of 13 by its own last bits.
    assert row["gradient"] < 1e-5 * row["gradient_size"]
    assert row["gradient_size"] > 1e-2  # or equality would say nothing
    assert row["params"] < 1e-6  # on average, after a step of up to 5e-4


@pytest.mark.parametrize(
    ("preset", "bytes_fraction"),
    [("dp", 1.0), ("fsdp", 1 / 8), ("fsdp_tp", 1 / 8), ("fsdp_seq", 1 / 8), ("slices", 1 / 4)],
)
def test_parameters_are_really_sharded(presets, preset, bytes_fraction):
    row = presets["pretraining", preset]
    # fsdp_tp: matrices that have only one of the two axes lie on 4 or 2 devices of the 8.
    assert row["bytes_fraction"] == pytest.approx(bytes_fraction, abs=0.04)
    for share in row["statistics_fraction"].values():  # of the optimizer lie where their parameters do
        assert share == pytest.approx(row["bytes_fraction"], abs=0.02)
    if preset != "dp":
        assert row["replicated_fraction"] < 0.02
