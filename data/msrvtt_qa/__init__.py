"""How is MSRVTT-QA prepared? Questions about the videos of MSR-VTT, generated from their captions."""

from .dataset import DATASET

__all__ = ["DATASET"]
