"""How is HMDB51 prepared? 6,766 clips of 51 actions, three official splits into training and test."""

from .splits import DATASET

__all__ = ["DATASET"]
