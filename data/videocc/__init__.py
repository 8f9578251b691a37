"""VideoCC: segments of web videos, each with the captions of the image that it was retrieved by."""

from .dataset import DATASET

__all__ = ["DATASET"]
