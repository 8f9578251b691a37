"""Script run with 8 forced CPU devices: plans for a fictitious device, one JSON line each."""

import dataclasses
import json

import jax

from svilm_jax.config import MeshConfig
from svilm_jax.profiling.device_specs import DeviceSpec
from svilm_jax.training.abstract_step import plan_step_for
from tests.tiny import tiny_config

CHIP = DeviceSpec(flops=1e12, hbm_bytes=2**30, hbm_bandwidth=1e11, ici_bandwidth=1e9)


def main():
    jax.config.update("jax_disable_most_optimizations", True)
    for name, mesh, chip in (
        ("dp", MeshConfig("dp"), CHIP),
        ("fsdp", MeshConfig("fsdp"), CHIP),
        ("small", MeshConfig("fsdp"), dataclasses.replace(CHIP, hbm_bytes=2**16)),
    ):
        config = dataclasses.replace(tiny_config(width=64, **{"train.batch_size": 16}), mesh=mesh)
        told = plan_step_for(config, 96, name, jax.devices(), chip)
        print(json.dumps({"mesh_name": name, **dataclasses.asdict(told)}), flush=True)


if __name__ == "__main__":
    main()
