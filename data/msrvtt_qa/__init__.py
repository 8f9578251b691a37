"""MSRVTT-QA: questions about the videos of MSR-VTT, generated from their captions."""

from .dataset import DATASET

__all__ = ["DATASET"]
