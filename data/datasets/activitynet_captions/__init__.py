"""ActivityNet Captions: 15,000 untrimmed videos with a timed sentence for every event."""

from svilm_data.datasets.activitynet_captions.dataset import DATASET

__all__ = ["DATASET"]
