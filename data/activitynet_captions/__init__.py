"""ActivityNet Captions: 15,000 untrimmed videos with a timed sentence for every event."""

from .sentences import DATASET

__all__ = ["DATASET"]
