"""Moving shapes: a small rendered dataset on which a video-language model trains in minutes."""

from .dataset import NAME, prepare
from .generator import SPLITS, generate

__all__ = ["NAME", "SPLITS", "generate", "prepare"]
