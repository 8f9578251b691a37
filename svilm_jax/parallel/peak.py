"""How fast could this device go? Published peak rates of accelerators; a measured one for CPUs."""

import time

import jax
import jax.numpy as jnp

from svilm_jax.parallel.chips import published


def peak_flops() -> tuple[float, str]:
    """FLOP/s of all devices together, and where the figure comes from.

    On a device without a published figure (every CPU) it is measured: the best float32 matrix product of 1,024 squared
    that a fifth of a second shows.
    """
    device = jax.local_devices()[0]
    if known := published(device.device_kind):
        return known[1].flops * jax.device_count(), f"published, {known[0]}"
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
