"""Tests that unreadable parts of a record are rejected before they allocate memory."""

import numpy as np
import pytest

from svilm_jax.input import schema


def test_masks_come_back():
    masks = np.random.default_rng(0).integers(0, 4, (3, 8, 9), np.uint8)
    np.testing.assert_array_equal(schema.unpack_masks(schema.pack_masks(masks)), masks)
    assert schema.unpack_masks(schema.pack_masks(None)) is None


def test_masks_that_would_fill_any_memory_are_refused(monkeypatch):
    packed = schema.pack_masks(np.zeros((4, 64, 64), np.uint8))
    assert len(packed) < 1000  # of 16 KiB
    monkeypatch.setattr(schema, "MAX_MASK_BYTES", 10_000)
    with pytest.raises(ValueError, match="more than 10000 bytes"):
        schema.unpack_masks(packed)


def test_masks_that_are_cut_off_are_refused():
    packed = schema.pack_masks(np.random.default_rng(0).integers(0, 4, (4, 64, 64), np.uint8))
    with pytest.raises(ValueError, match="cut off"):
        schema.unpack_masks(packed[: len(packed) // 2])
