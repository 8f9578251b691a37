"""Phrase grounding: evaluator, metrics, baselines and published file formats."""
