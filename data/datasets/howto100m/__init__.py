"""HowTo100M: instructional videos with their transcribed speech, whole or in segments."""

from svilm_data.datasets.howto100m.dataset import DATASET

__all__ = ["DATASET"]
