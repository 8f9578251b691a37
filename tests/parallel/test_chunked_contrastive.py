"""Tests of chunked pairwise losses against the dense ones on every mesh, and of subquadratic memory."""

import pytest

from tests.parallel.processes import rows_of


@pytest.fixture(scope="module")
def parity():
    return rows_of("tests.parallel.pairs_on_devices", "parity")


@pytest.fixture(scope="module")
def memory():
    rows = rows_of("tests.parallel.pairs_on_devices", "memory")
    return {(row["loss"], row["form"], row["batch"]): row["bytes"] for row in rows}


@pytest.mark.parametrize("loss", ["infonce", "sigmoid", "grounding"])
@pytest.mark.parametrize("exchange", ["gather", "ring"])
def test_value_and_gradient_equal_the_dense_form(parity, loss, exchange):
    rows = [row for row in parity if (row["loss"], row["exchange"]) == (loss, exchange)]
    assert {row["mesh"] for row in rows} == {"fsdp", "slices", "tensor", "seq"}
    assert len({row["chunk"] for row in rows}) == 3
    for row in rows:
        assert row["difference"] < 1e-5, row


@pytest.mark.parametrize("form", ["gather", "ring"])
@pytest.mark.parametrize(("loss", "share"), [("infonce", 0.1), ("grounding", 0.01)])
def test_memory_at_a_batch_of_32768(memory, loss, form, share):
    """Twice the batch needs twice the memory, where all scores at once need four times as much."""
    before, after = (memory[loss, form, batch] for batch in (16384, 32768))
    assert after < 2.2 * before
    assert after < share * memory[loss, "dense", 32768]
    assert memory[loss, "dense", 32768] > 3.5 * memory[loss, "dense", 16384]
