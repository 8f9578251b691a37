"""How is UCF101 prepared? 13,320 clips of 101 actions, three official splits into training and test."""

from .lists import DATASET

__all__ = ["DATASET"]
