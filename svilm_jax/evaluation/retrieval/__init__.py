"""Text-video retrieval: evaluator, metrics, baselines and published file formats."""
