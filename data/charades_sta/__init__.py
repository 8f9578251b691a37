"""Charades-STA: sentences about moments of home videos, for moment retrieval."""

from .sentences import DATASET

__all__ = ["DATASET"]
