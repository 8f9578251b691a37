"""UCF101: 13,320 clips of 101 actions, with three official splits into training and test."""

from svilm_data.datasets.ucf101.dataset import DATASET

__all__ = ["DATASET"]
