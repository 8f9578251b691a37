"""Training: `loop.py` is the training loop, `step.py` the train step."""
