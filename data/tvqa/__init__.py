"""TVQA and TVQA+: questions about television clips, with their correct answers."""

from .questions import DATASET

__all__ = ["DATASET"]
