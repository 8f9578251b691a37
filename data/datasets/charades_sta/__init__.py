"""Charades-STA: sentences about moments of home videos, for moment retrieval."""

from svilm_data.datasets.charades_sta.dataset import DATASET

__all__ = ["DATASET"]
