"""Launchers: where the trials of a sweep are run."""
