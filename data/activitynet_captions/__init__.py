"""How is ActivityNet Captions prepared? Every event of 15,000 untrimmed videos in a sentence, with its time."""

from .sentences import DATASET

__all__ = ["DATASET"]
