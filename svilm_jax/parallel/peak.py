"""How fast could this device go? Published peak rates of accelerators; a measured one for CPUs."""

import time

import jax
import jax.numpy as jnp

# Dense bfloat16 FLOP/s a chip, from the makers' data sheets; matched against the start of `device_kind`.
PUBLISHED = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5p": 459e12,
    "TPU v5": 459e12,
    "TPU v6": 918e12,
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
}


def peak_flops() -> tuple[float, str]:
    """FLOP/s of all devices together, and where the figure comes from.

    On a device without a published figure (every CPU) it is measured: the best float32 matrix product of 1,024 squared
    that a fifth of a second shows.
    """
    device = jax.local_devices()[0]
    for kind, rate in PUBLISHED.items():
        if device.device_kind.startswith(kind):
            return rate * jax.device_count(), f"published, {kind}"
    return _measured(device), f"measured matmul rate, {device.device_kind}"


def _measured(device: jax.Device) -> float:
    x = jax.device_put(jnp.ones((1024, 1024), jnp.float32), device)
    product = jax.jit(jnp.matmul)
    product(x, x).block_until_ready()
    best, stop = float("inf"), time.perf_counter() + 0.2
    while time.perf_counter() < stop:
        start = time.perf_counter()
        product(x, x).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best
