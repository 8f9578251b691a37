"""Moving shapes: a small rendered dataset on which a video-language model trains in minutes."""

from svilm_data.datasets.moving_shapes.dataset import NAME, prepare
from svilm_data.datasets.moving_shapes.generator import SPLITS, generate

__all__ = ["NAME", "SPLITS", "generate", "prepare"]
