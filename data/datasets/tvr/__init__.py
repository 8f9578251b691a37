"""TVR: queries about moments of television clips."""

from svilm_data.datasets.tvr.dataset import DATASET

__all__ = ["DATASET"]
