"""How is HowTo100M prepared? Narrated videos with the speech in them, whole or in pieces."""

from .dataset import DATASET

__all__ = ["DATASET"]
