"""How are TVQA and TVQA+ prepared? Questions about television clips, with their right answers."""

from .questions import DATASET

__all__ = ["DATASET"]
