"""Sweeps: many trials of one config, planned, run and compared."""
