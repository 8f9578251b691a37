"""Asking a trained model: embeddings of files and sentences, phrases in pictures, an index of clips."""

from svilm_jax.inference.trained import GroundedPhrase, TrainedModel

__all__ = ["GroundedPhrase", "TrainedModel"]
