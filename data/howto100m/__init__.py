"""HowTo100M: instructional videos with their transcribed speech, whole or in segments."""

from .dataset import DATASET

__all__ = ["DATASET"]
