"""MSVD-QA: questions about the clips of MSVD, generated from their captions, with a split of their own."""

from .dataset import DATASET

__all__ = ["DATASET"]
