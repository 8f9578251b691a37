"""Tests of checksums: a single wrong bit is detected, and the mesh does not matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.checkpoints.checksums import checksums, differing

TREE = {
    "a": jnp.linspace(-1, 1, 12, dtype=jnp.float32).reshape(3, 4),
    "b": [jnp.asarray(7, jnp.int32), jnp.ones(5, jnp.bfloat16)],
    "c": jnp.array([True, False]),
}


def test_sums_are_those_of_the_bits():
    bits = np.asarray(TREE["a"]).view(np.uint32).astype(np.uint64)
    assert checksums(TREE)["a"] == int(bits.sum() % 2**32)
    assert checksums(TREE)["b.0"] == 7
    assert checksums(TREE)["b.1"] == 5 * 0x3F80
    assert checksums(TREE)["c"] == 1


@pytest.mark.parametrize("bit", [0, 7, 22, 31])
def test_a_wrong_bit_shows(bit):
    saved = checksums(TREE)
    assert differing(TREE, saved) == []
    words = np.asarray(TREE["a"]).view(np.uint32).copy()
    words[1, 2] ^= np.uint32(1 << bit)
    assert differing({**TREE, "a": jnp.asarray(words.view(np.float32))}, saved) == ["a"]


def test_old_checkpoints_have_no_sums_and_parts_may_be_asked_for():
    assert differing(TREE, {}) == []
    assert differing({"a": TREE["a"]}, checksums(TREE)) == []
    assert jax.tree.leaves(checksums({"a": TREE["a"]})) == [checksums(TREE)["a"]]
