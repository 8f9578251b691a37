"""GPUs that CUDA shows to this process, asked from the driver before JAX creates its client."""

import ctypes
import pkgutil
import uuid
from typing import Any

import jax


def visible_gpus() -> tuple[str, ...]:
    """Returns the UUIDs of the GPUs that JAX would use, in CUDA's order; an empty tuple without any.

    CUDA_VISIBLE_DEVICES, the device limits of a container or job, and JAX_PLATFORMS are taken into account. The numbers
    of `jax_cuda_visible_devices` are places in this tuple.
    """
    platforms = jax.config.jax_platforms
    if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
        return ()
    if not _has_plugin():
        return ()
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    return read_uuids(driver)


def read_uuids(driver: Any) -> tuple[str, ...]:
    """Returns the UUIDs of the GPUs, or of the MIG instances, that a CUDA driver lists.

    An error of the driver is an empty tuple here: JAX meets it next, and its message is the better one. The driver is
    only initialized; nothing is allocated on a GPU.
    """
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    # The first version gives all MIG instances of a GPU the same one; drivers before CUDA 11.4 have no other.
    get_uuid = getattr(driver, "cuDeviceGetUuid_v2", None) or driver.cuDeviceGetUuid
    found = []
    for ordinal in range(count.value):
        device, identity = ctypes.c_int(), (ctypes.c_ubyte * 16)()
        if driver.cuDeviceGet(ctypes.byref(device), ordinal) or get_uuid(ctypes.byref(identity), device):
            return ()
        found.append(f"GPU-{uuid.UUID(bytes=bytes(identity))}")
    return tuple(found)


def _has_plugin() -> bool:
    try:
        import jax_plugins
    except ImportError:
        return False
    return any(module.name.startswith("xla_cuda") for module in pkgutil.iter_modules(jax_plugins.__path__))
