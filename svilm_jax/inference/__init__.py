"""Inference with a trained model: embeddings of videos and sentences, phrase grounding, and clip search."""

from svilm_jax.inference.model import GroundedPhrase, TrainedModel

__all__ = ["GroundedPhrase", "TrainedModel"]
