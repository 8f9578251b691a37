"""TVR: queries about moments of television clips."""

from .queries import DATASET

__all__ = ["DATASET"]
