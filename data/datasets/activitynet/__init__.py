"""ActivityNet: untrimmed videos with labeled segments, releases 1.3 and 1.2."""

from svilm_data.datasets.activitynet.dataset import DATASET

__all__ = ["DATASET"]
