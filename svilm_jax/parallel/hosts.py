"""Distributed initialization, and agreement between the processes of a run on what to do next.

On TPU pods, under SLURM, on GKE and under Open MPI the environment describes the processes; elsewhere three flags do.
JAX does the rest (`jax.distributed`).
"""

import enum
import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from svilm_jax.config import ConfigError
from svilm_jax.parallel.lost_processes import watch_processes


def join_hosts(
    coordinator: str = "", processes: int = 0, process: int = -1, lost_process_seconds: float = 100.0
) -> str:
    """Makes this process one of many, if it is. To be called before anything asks JAX for devices.

    Args:
      coordinator: HOST:PORT of process 0; "": as the environment says.
      processes, process: how many there are and which one this is; 0 and -1: as the environment says.
      lost_process_seconds: without a sign of life of a process after which the others end with `EXIT_LOST_PROCESS`.

    Returns:
      who told: `flags`, `SLURM`, `Open MPI`, `Kubernetes`, `TPU`, or "" for a process on its own.

    Raises:
      ConfigError: flags that are incomplete, or an environment that could not be joined.
    """
    known: dict[str, Any] = {}
    if coordinator:
        told, (count, number) = "flags", _counted(processes, process)
        known = {"coordinator_address": coordinator, "num_processes": count, "process_id": number}
    elif processes or process >= 0:
        raise ConfigError("--processes and --process need --coordinator=HOST:PORT, the address of process 0")
    elif not (told := launcher(os.environ)):
        return ""
    # CPUs exchange arrays by gloo; other devices do not look at this.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        # JAX aborts when its own heartbeats stop; what names the lost process (`lost_processes`) has to be quicker.
        limit = int(2 * lost_process_seconds) + 10
        jax.distributed.initialize(**known, heartbeat_timeout_seconds=limit)
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigError(
            f"could not join the other processes ({told}): {error}. All of them have to be started alike, and process "
            "0 has to be reachable; --coordinator, --processes and --process say it by hand"
        ) from error
    watch_processes(lost_process_seconds)
    return told


def launcher(environment: Mapping[str, str]) -> str:
    """Which launcher started this process as one of several; "" for none."""

    def number(name: str) -> int:
        return int(environment[name]) if environment.get(name, "").isdigit() else 1

    if {"SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID"} <= environment.keys() and number("SLURM_NTASKS") > 1:
        return "SLURM"
    if number("OMPI_COMM_WORLD_SIZE") > 1:
        return "Open MPI"
    if "MEGASCALE_COORDINATOR_ADDRESS" in environment or "," in environment.get("TPU_WORKER_HOSTNAMES", ""):
        return "TPU"
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return "Kubernetes"
    # A virtual machine of a pod: it is not known before asking whether it stands alone, and asking does no harm.
    on_tpu_vm = importlib.util.find_spec("libtpu") is not None and any(Path("/dev").glob("accel*"))
    return "TPU" if on_tpu_vm else ""


def _counted(processes: int, process: int) -> tuple[int, int]:
    """Number and place of this process, from flags or else from what launchers set."""
    names = (("SLURM_NTASKS", "SLURM_PROCID"), ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"))
    for count, place in names:
        if not processes and process < 0 and {count, place} <= os.environ.keys():
            processes, process = int(os.environ[count]), int(os.environ[place])
    if not 0 <= process < processes:
        raise ConfigError(
            f"--coordinator needs --processes=N and --process=I with 0 <= I < N, got {processes} and {process}"
        )
    return processes, process


def is_first() -> bool:
    """Whether this process writes what is written once."""
    return jax.process_index() == 0


class Ask(enum.IntEnum):
    """What a process may ask of all; the larger counts."""

    NOTHING = 0
    SAVE = 1
    STOP = 2


class Agreement:
    """What any process asks for, told to all of them: a signal may reach one only, and clocks differ.

    Alone, a process knows at once. Among several the answer is one step late, so that nobody waits for anybody.
    """

    def __init__(self, mesh: Mesh):
        self._alone = jax.process_count() == 1
        self._of_devices = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._shape = (mesh.size,)
        self._largest: Callable[[jax.Array], jax.Array] = jax.jit(
            jnp.max, out_shardings=NamedSharding(mesh, PartitionSpec())
        )
        self._pending: jax.Array | None = None

    def ask(self, mine: Ask) -> Ask:
        """Says what this process wants, and learns what is to be done. Every process calls it once a step."""
        if self._alone:
            return mine
        before = Ask.NOTHING if self._pending is None else Ask(int(self._pending))
        asked = np.full(self._shape, mine, np.int32)
        everyone = jax.make_array_from_callback(self._shape, self._of_devices, lambda index: asked[index])
        self._pending = self._largest(everyone)
        return before
