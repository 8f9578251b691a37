"""Training: `loop.py` says in what order, `step.py` what a step computes, `checkpoints.py` what is kept."""
