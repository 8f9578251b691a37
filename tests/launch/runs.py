"""Runs for the tests of the files of schedulers."""

import dataclasses

from svilm_jax.config import resolve
from svilm_jax.launch.hardware import parse_hardware
from svilm_jax.launch.run import Run, Settings

CONFIG = {
    "input": {"dataset": "/data/set"},
    "tokenizer": {"path": "dataset"},
    "objectives": {"global_contrast": {"weight": 1.0}},
    "mesh": {"preset": "fsdp"},
}


def make_config(**tables):
    return resolve(CONFIG | tables)


def make_run(name="demo", workdir="gs://bucket/run", **tables):
    return Run(name, workdir, dataclasses.asdict(make_config(**tables)))


def make_settings(accelerator, nodes=0, slices=0, volumes={"/data": "claim"}, **options):  # noqa: B006
    return Settings(parse_hardware(accelerator, nodes, slices), volumes=volumes, **options)
