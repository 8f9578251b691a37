"""Status of runs and sweeps, read from their folders without JAX; nothing in them is changed."""
