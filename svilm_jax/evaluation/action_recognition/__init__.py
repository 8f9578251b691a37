"""Action recognition: evaluator, metrics, baselines and published file formats."""
