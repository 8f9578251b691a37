"""How is VideoCC prepared? Parts of web videos, each with the captions of the picture that it was found by."""

from .dataset import DATASET

__all__ = ["DATASET"]
