"""How is MSVD-QA prepared? Questions about the clips of MSVD, generated from their captions, on a split of its own."""

from .dataset import DATASET

__all__ = ["DATASET"]
