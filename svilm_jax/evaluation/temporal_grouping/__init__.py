"""Temporal grouping of spliced clips and scene-cut detection: evaluators, metrics and baselines."""
