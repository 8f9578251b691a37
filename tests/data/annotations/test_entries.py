"""Tests of the masks of entries."""

import numpy as np
import pytest
from svilm_data.annotations.entries import Entry, read_masks
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Record


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_damaged_masks_are_one_error(tmp_path, damage):
    np.savez_compressed(tmp_path / "a.npz", masks=np.random.default_rng(0).integers(0, 9, (4, 20, 20)).astype(np.uint8))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 0xFF
    content = {"cut": data[:-40], "flipped": data, "empty": b"", "text": b"no masks"}[damage]
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(PreparationError, match=r"a\.npz: expected an \.npz file with an array 'masks'"):
        read_masks(Entry(Record("a", b""), tmp_path / "a.mp4", tmp_path / "a.npz"), 4)
