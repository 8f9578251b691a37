"""Device specifications published by vendors, and measurement of the matrix-product rate."""

import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class DeviceSpec:
    """Specifications of one chip, as JAX counts devices.

    Attributes:
      flops: dense bfloat16 FLOP/s.
      hbm_bytes: memory in bytes.
      hbm_bandwidth: bytes/s.
      ici_bandwidth: bytes/s that it can send to its neighbors over all links together (half of the published
        bidirectional figure); 0 where it depends on the machine.
    """

    flops: float
    hbm_bytes: int
    hbm_bandwidth: float
    ici_bandwidth: float = 0.0


_GIB = 2**30

# Matched against the start of `device_kind`, longer names first. Cloud TPU documentation, pages v4, v5e, v5p and v6e;
# NVIDIA data sheets of A100 SXM 80 GB, H100 SXM and H200 SXM.
CHIPS = {
    "TPU v4": DeviceSpec(275e12, 32 * _GIB, 1228e9, 300e9),
    "TPU v5 lite": DeviceSpec(197e12, 16 * _GIB, 819e9, 200e9),
    "TPU v5e": DeviceSpec(197e12, 16 * _GIB, 819e9, 200e9),
    "TPU v5p": DeviceSpec(459e12, 95 * _GIB, 2765e9, 600e9),
    "TPU v5": DeviceSpec(459e12, 95 * _GIB, 2765e9, 600e9),
    "TPU v6": DeviceSpec(918e12, 32 * _GIB, 1640e9, 400e9),
    "NVIDIA A100": DeviceSpec(312e12, 80 * 10**9, 2039e9),
    "NVIDIA H100": DeviceSpec(989e12, 80 * 10**9, 3350e9),
    "NVIDIA H200": DeviceSpec(989e12, 141 * 10**9, 4800e9),
}


def published_spec(device_kind: str) -> tuple[str, DeviceSpec] | None:
    """Returns the name and specifications of a kind of device; None if none are published."""
    for name, chip in CHIPS.items():
        if device_kind.startswith(name):
            return name, chip
    return None


def peak_flops() -> tuple[float, str]:
    """Returns the FLOP/s of all devices together, and the source of the figure.

    On a device without a published figure (every CPU) it is measured, in float32.
    """
    device = jax.local_devices()[0]
    if known := published_spec(device.device_kind):
        return known[1].flops * jax.device_count(), f"published, {known[0]}"
    return matmul_rate(device, jnp.float32), f"measured matmul rate, {device.device_kind}"


def matmul_rate(device: jax.Device, dtype: Any, size: int = 1024, seconds: float = 0.2) -> float:
    """Returns the matmul FLOP/s of one device: the fastest product of two [size, size] matrices within `seconds`.

    The matrices are random: GPUs draw less power, and so run faster, on constant data.
    """
    x = jax.device_put(jax.random.normal(jax.random.key(0), (size, size), dtype), device)
    product = jax.jit(jnp.matmul)
    product(x, x).block_until_ready()
    best, stop = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < stop:
        start = time.perf_counter()
        product(x, x).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
