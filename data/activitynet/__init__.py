"""ActivityNet: untrimmed videos with labeled segments, releases 1.3 and 1.2."""

from .annotations import DATASET

__all__ = ["DATASET"]
