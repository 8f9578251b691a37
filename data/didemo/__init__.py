"""DiDeMo: descriptions of moments in the first half minute of Flickr videos."""

from .descriptions import DATASET

__all__ = ["DATASET"]
