"""Part 1: devices, driver, versions, and the measured rates that all other results are compared with."""

import importlib.metadata
import os
import platform
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from experiments.accelerator.part import Part, run_part
from svilm_jax.profiling.device_specs import matmul_rate, published_spec

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "av", "torch")
_QUERY = "name,driver_version,memory.total,power.limit,clocks.max.sm,clocks.max.mem"


def run(part: Part) -> None:
    """Measures; the matmul rate is the best of a second, the bandwidth the median of 20 copies."""
    device = jax.local_devices()[0]
    part.note(
        device_kind=device.device_kind,
        devices=jax.device_count(),
        platform=device.platform,
        runtime=device.client.platform_version,
        machine={"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version()},
        nvidia_smi=_nvidia_smi(),
        versions={name: _version(name) for name in PACKAGES},
        published_spec=vars(known[1]) if (known := published_spec(device.device_kind)) else None,
    )
    size, seconds = (256, 0.05) if part.smoke else (8192, 1.0)
    for dtype in ("bfloat16", "float32"):
        with part.attempt(f"matmul {dtype}"):
            rate = matmul_rate(device, jnp.dtype(dtype), size, seconds)
            part.add("matmul", dtype=dtype, size=size, tflops_per_second=rate / 1e12)
            part.note(**{f"matmul_flops_{dtype}": rate})
    with part.attempt("bandwidth"):
        size = (1 << 20 if part.smoke else 2 << 30) // 4
        rate = bandwidth(device, size)
        part.add("bandwidth", bytes=4 * size, gb_per_second=rate / 1e9)
        part.note(memory_bandwidth=rate)


def bandwidth(device: jax.Device, size: int) -> float:
    """Returns bytes per second, read and written, of an element-wise operation on `size` float32 values."""
    x = jax.device_put(jnp.ones(size, jnp.float32), device)
    add = jax.jit(lambda x: x + 1)
    add(x).block_until_ready()
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        add(x).block_until_ready()
        seconds.append(time.perf_counter() - started)
    return 2 * 4 * size / statistics.median(seconds)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        return platform.processor()


def _nvidia_smi() -> str:
    if shutil.which("nvidia-smi") is None:
        return "not installed"
    command = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout.strip()


if __name__ == "__main__":
    run_part(run)
