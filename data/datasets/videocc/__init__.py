"""VideoCC: segments of web videos, each with the captions of the image that it was retrieved by."""

from svilm_data.datasets.videocc.dataset import DATASET

__all__ = ["DATASET"]
