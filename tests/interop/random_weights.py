"""Random weights of test models, derived from the arrays' names, so that nothing large is stored.

Any program with NumPy gets the same numbers from the same names and shapes, on either side of a comparison.
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

# Deviations, large enough that no bias, norm or position could be left out unnoticed.
_TABLE, _BIAS = 0.3, 0.2


def weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """float32 arrays of some names and shapes, in the order of the names given."""
    return {name: _array(name, tuple(shape)) for name, shape in shapes.items()}


def video(name: str, shape: Sequence[int]) -> np.ndarray:
    """uint8 pixels [B, T, H, W, 3]."""
    return _generator(name).integers(0, 256, shape, dtype=np.uint8)


def tokens(name: str, shape: Sequence[int], vocabulary: int) -> np.ndarray:
    """int32 [B, L], none of the first five, which stand for padding and the like."""
    return _generator(name).integers(5, vocabulary, shape, dtype=np.int32)


def _array(name: str, shape: tuple[int, ...]) -> np.ndarray:
    noise = _generator(name).standard_normal(shape, dtype=np.float32)
    if "norm" in name.lower() and name.endswith(("weight", "scale")):
        return 1 + _BIAS * noise
    if len([side for side in shape if side > 1]) < 2:  # biases, and class tokens
        return _BIAS * noise
    if "position" in name or name.endswith("embeddings.weight"):
        return _TABLE * noise
    return noise / np.float32(np.sqrt(noise[0].size))  # [out, ...]: outputs as large as inputs


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))
