"""What is moving shapes? A small rendered world that trains and tests a video-language model in minutes."""

from .dataset import NAME, prepare
from .generator import SPLITS, generate

__all__ = ["NAME", "SPLITS", "generate", "prepare"]
