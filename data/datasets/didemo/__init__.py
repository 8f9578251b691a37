"""DiDeMo: descriptions of moments in the first half minute of Flickr videos."""

from svilm_data.datasets.didemo.dataset import DATASET

__all__ = ["DATASET"]
