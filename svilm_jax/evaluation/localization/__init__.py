"""Temporal action localization: evaluator, metrics, baselines and published file formats."""
