"""Models on disk: training checkpoints (`manager`, `reading`) and exported model directories (`model_directory`)."""

from svilm_jax.checkpoints.loading import load

__all__ = ["load"]
