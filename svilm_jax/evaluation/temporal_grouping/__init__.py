"""Temporal grouping of spliced clips, and scene-cut detection: evaluator, metrics, baselines and published file formats."""
