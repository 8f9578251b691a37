"""Structured video-language pre-training: where words are, and when scenes change.

`svilm_jax.load(path)` gives a trained model with its config and tokenizer.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from svilm_jax.training.checkpoints import Loaded

__all__ = ["load"]


def load(path: str) -> "Loaded":
    """The model of a workdir (its newest checkpoint) or of WORKDIR/checkpoints/STEP; see `Loaded`."""
    from svilm_jax.training.checkpoints import load as load_checkpoint  # here: `import svilm_jax` stays quick

    return load_checkpoint(path)
