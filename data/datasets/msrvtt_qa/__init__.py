"""MSRVTT-QA: questions about the videos of MSR-VTT, generated from their captions."""

from svilm_data.datasets.msrvtt_qa.dataset import DATASET

__all__ = ["DATASET"]
