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


def initialize_distributed(
    coordinator: str = "", processes: int = 0, process: int = -1, lost_process_seconds: float = 100.0
) -> str:
    """Initializes distributed execution if there are several processes. Call it before JAX is asked for devices.

    Args:
      coordinator: HOST:PORT of process 0; "": from the environment.
      processes: number of processes; 0: from the environment.
      process: index of this process; -1: from the environment.
      lost_process_seconds: time without a heartbeat of a process after which the others exit with `EXIT_LOST_PROCESS`.

    Returns:
      the source of the settings: `flags`, `SLURM`, `Open MPI`, `Kubernetes`, `TPU`, or "" for a single process.

    Raises:
      ConfigError: incomplete flags, or a failed initialization.
    """
    known: dict[str, Any] = {}
    if coordinator:
        source, (count, number) = "flags", _counted(processes, process)
        known = {"coordinator_address": coordinator, "num_processes": count, "process_id": number}
    elif processes or process >= 0:
        raise ConfigError("--processes and --process need --coordinator=HOST:PORT, the address of process 0")
    elif not (source := launcher(os.environ)):
        return ""
    # CPUs exchange arrays by gloo; other devices ignore this.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # Its SIGTERM handler would replace that of `StopSignals`, and a stopped run would go on to its end unsaved.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        # JAX aborts when its own heartbeats stop; `lost_processes`, which names the lost process, must be faster.
        limit = int(2 * lost_process_seconds) + 10
        jax.distributed.initialize(**known, heartbeat_timeout_seconds=limit)
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigError(
            f"could not join the other processes ({source}): {error}. All of them must be started with the "
            "same settings, and process 0 must be reachable; --coordinator, --processes and --process set them manually"
        ) from error
    watch_processes(lost_process_seconds)
    return source


def launcher(environment: Mapping[str, str]) -> str:
    """Returns the launcher that started this process as one of several; "" if there is none."""

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
    # A TPU VM: whether it is part of a pod is only known by asking, which does no harm.
    on_tpu_vm = importlib.util.find_spec("libtpu") is not None and any(Path("/dev").glob("accel*"))
    return "TPU" if on_tpu_vm else ""


def _counted(processes: int, process: int) -> tuple[int, int]:
    """Returns the number of processes and the index of this one, from flags or else from the launcher's variables."""
    names = (("SLURM_NTASKS", "SLURM_PROCID"), ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"))
    for count, place in names:
        if not processes and process < 0 and {count, place} <= os.environ.keys():
            processes, process = int(os.environ[count]), int(os.environ[place])
    if not 0 <= process < processes:
        raise ConfigError(
            f"--coordinator needs --processes=N and --process=I with 0 <= I < N, got {processes} and {process}"
        )
    return processes, process


def is_lead_process() -> bool:
    """Returns whether this process is the one that writes shared files."""
    return jax.process_index() == 0


class HostRequest(enum.IntEnum):
    """A request of a process to all processes; the maximum over processes applies."""

    NOTHING = 0
    SAVE = 1
    STOP = 2


class HostConsensus:
    """Consensus over the requests of all processes: a signal may reach only one of them, and clocks differ.

    A single process gets its answer at once. Among several the answer is one step late, so that no process waits.
    `multihost_utils.reached_preemption_sync_point` does not fit: it reacts to SIGTERM only, carries no request to save,
    and needs JAX's preemption notifier, which installs a second signal handler in addition to that of `StopSignals`.
    """

    def __init__(self, mesh: Mesh):
        self._alone = jax.process_count() == 1
        self._of_devices = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._shape = (mesh.size,)
        self._largest: Callable[[jax.Array], jax.Array] = jax.jit(
            jnp.max, out_shardings=NamedSharding(mesh, PartitionSpec())
        )
        self._pending: jax.Array | None = None

    def ask(self, mine: HostRequest) -> HostRequest:
        """Submits the request of this process and returns the agreed one. Every process calls it once per step."""
        if self._alone:
            return mine
        before = HostRequest.NOTHING if self._pending is None else HostRequest(int(self._pending))
        asked = np.full(self._shape, mine, np.int32)
        everyone = jax.make_array_from_callback(self._shape, self._of_devices, lambda index: asked[index])
        self._pending = self._largest(everyone)
        return before
