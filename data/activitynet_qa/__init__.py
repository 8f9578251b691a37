"""How is ActivityNet-QA prepared? Ten human questions about each of 5,800 long videos of ActivityNet."""

from .dataset import DATASET

__all__ = ["DATASET"]
