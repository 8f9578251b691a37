"""UCF101: 13,320 clips of 101 actions, with three official splits into training and test."""

from .lists import DATASET

__all__ = ["DATASET"]
