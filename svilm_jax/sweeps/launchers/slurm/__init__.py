"""Launcher that runs the trials of a sweep as job arrays of SLURM."""

from svilm_jax.sweeps.launchers.slurm.launcher import SlurmLauncher

__all__ = ["SlurmLauncher"]
