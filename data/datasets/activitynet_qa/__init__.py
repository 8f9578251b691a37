"""ActivityNet-QA: ten human-written questions about each of 5,800 long videos of ActivityNet."""

from svilm_data.datasets.activitynet_qa.dataset import DATASET

__all__ = ["DATASET"]
