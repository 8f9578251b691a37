"""ActivityNet-QA: ten human-written questions about each of 5,800 long videos of ActivityNet."""

from .dataset import DATASET

__all__ = ["DATASET"]
