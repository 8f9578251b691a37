"""VIOLIN: true and false statements about clips of films and series."""

from svilm_data.datasets.violin.dataset import DATASET

__all__ = ["DATASET"]
