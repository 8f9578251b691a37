"""Video question answering: evaluator, metrics, baselines and published file formats."""
