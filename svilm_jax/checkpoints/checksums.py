"""Checksums of saved arrays, independent of the mesh: a sum over the bits of every array.

Orbax's files detect most corruption, but not a flipped bit in uncompressed data. Sums of integers modulo 2^32 do not
depend on the order of summation, so that devices may sum their own shards; a single wrong bit is always detected.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def checksums(tree: Any) -> dict[str, int]:
    """Returns name -> sum of the bits of every array, as unsigned integers of its width, modulo 2^32."""
    named = jax.tree_util.tree_leaves_with_path(tree)
    sums = np.asarray(_sums([leaf for _, leaf in named]))
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in named]
    return dict(zip(names, sums.tolist(), strict=True))


def differing(tree: Any, saved: dict[str, int]) -> list[str]:
    """Returns the names of arrays that do not match their sums; names on one side only are ignored."""
    return sorted(name for name, value in checksums(tree).items() if saved.get(name, value) != value)


def check_sums(tree: Any, saved: dict[str, int]) -> None:
    """Raises ValueError naming arrays that do not match their sums."""
    if wrong := differing(tree, saved):
        raise ValueError(f"values differ from the saved ones in {', '.join(wrong[:4])}")


@jax.jit
def _sums(leaves: list[jax.Array]) -> jax.Array:
    return jnp.stack([_bits(leaf).astype(jnp.uint32).sum(dtype=jnp.uint32) for leaf in leaves])


def _bits(x: jax.Array) -> jax.Array:
    if x.dtype == jnp.bool_:
        return x
    return jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * x.dtype.itemsize}"))
