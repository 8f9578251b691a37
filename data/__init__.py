"""Offline preparation of datasets from raw downloads, run by `svilm prepare` and never imported by training."""
