"""HMDB51: 6,766 clips of 51 actions, with three official splits into training and test."""

from svilm_data.datasets.hmdb51.dataset import DATASET

__all__ = ["DATASET"]
