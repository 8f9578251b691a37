"""MSR-VTT: official JSON files, and the common split lists of the 7k, 9k and 1k-A protocols."""

from svilm_data.datasets.msrvtt.dataset import DATASET
from svilm_data.datasets.msrvtt.names import record_id, video_names

__all__ = ["DATASET", "record_id", "video_names"]
