"""Configs of the published experiments, installed as `svilm_configs` and found by name: `--config=pretrain/demo`."""
