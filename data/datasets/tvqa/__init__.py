"""TVQA and TVQA+: questions about television clips, with their correct answers."""

from svilm_data.datasets.tvqa.dataset import DATASET

__all__ = ["DATASET"]
