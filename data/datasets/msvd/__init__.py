"""MSVD: captions as corpus or as JSON, and the common lists of 1,200, 100 and 670 clips."""

from svilm_data.datasets.msvd.dataset import DATASET
from svilm_data.datasets.msvd.names import ClipNumbers, read_mapping, record_number

__all__ = ["DATASET", "ClipNumbers", "read_mapping", "record_number"]
