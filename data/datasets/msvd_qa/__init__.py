"""MSVD-QA: questions about the clips of MSVD, generated from their captions, with a split of their own."""

from svilm_data.datasets.msvd_qa.dataset import DATASET

__all__ = ["DATASET"]
