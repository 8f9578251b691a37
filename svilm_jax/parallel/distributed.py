"""Distributed initialization, and agreement between the processes of a run on what to do next.

The environment of the launcher describes the processes (`launch_environment.py`), or else three flags do; all processes
together decide which GPUs each one uses (`placement.py`). JAX does the rest (`jax.distributed`).
"""

import dataclasses
import enum
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax._src import distributed  # for the key-value store, as in `lost_processes`
from jax._src.cloud_tpu_init import running_in_cloud_tpu_vm
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from svilm_jax.config import ConfigError
from svilm_jax.parallel.cuda_devices import visible_gpus
from svilm_jax.parallel.launch_environment import Launch, coordinator_address, find_launch
from svilm_jax.parallel.lost_processes import agree_on, exchange, watch_processes
from svilm_jax.parallel.placement import Report, divide_gpus, processes_per_memory, report

_local_processes = 1  # that share the shared memory of this process


def initialize_distributed(
    coordinator: str = "", processes: int = 0, process: int = -1, lost_process_seconds: float = 100.0, run: str = ""
) -> str:
    """Initializes distributed execution if there are several processes. Call it before JAX is asked for devices.

    Each process then writes one line to stderr that says which devices it uses.

    Args:
      coordinator: HOST:PORT of process 0; "": from the environment.
      processes: number of processes; 0: from the environment.
      process: index of this process; -1: from the environment.
      lost_process_seconds: time without a heartbeat of a process after which the others exit with `EXIT_LOST_PROCESS`.
      run: what the processes of this run, and of no other on the same hosts, have in common, such as the workdir.

    Returns:
      the source of the settings: `flags`, `SLURM`, `torchrun`, `Open MPI`, `PMI`, `Kubernetes`, `TPU` or
      `JAX_NUM_PROCESSES`; "" for a single process.

    Raises:
      ConfigError: incomplete flags, a failed initialization, or GPUs that would be left idle or used twice.
    """
    launch = find_processes(os.environ, coordinator, processes, process, running_in_cloud_tpu_vm)
    if launch is None:
        return ""
    known: dict[str, Any] = {}
    if not launch.asks_platform:
        known = {
            "coordinator_address": coordinator_address(launch, os.environ, run),
            "num_processes": launch.processes,
            "process_id": launch.process,
            "cluster_detection_method": "deactivate",  # it would choose one GPU; `_place` chooses
        }
    # CPUs exchange arrays by gloo; other devices ignore this.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # Its SIGTERM handler would replace that of `StopSignals`, and a stopped run would go on to its end unsaved.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        # JAX aborts when its own heartbeats stop; `lost_processes`, which names the lost process, must be faster.
        limit = int(2 * lost_process_seconds) + 10
        jax.distributed.initialize(**known, heartbeat_timeout_seconds=limit)
    except (RuntimeError, ValueError, OSError) as error:
        where = known.get("coordinator_address", "")
        raise ConfigError(
            f"could not join the other processes ({launch.launcher}{where and ', process 0 at '}{where}): {error}. All "
            "of them must be started with the same settings, and process 0 must be reachable; --coordinator, "
            "--processes and --process set them manually"
        ) from error
    watch_processes(lost_process_seconds)
    _place(launch)
    return launch.launcher


def find_processes(
    environment: Mapping[str, str], coordinator: str = "", processes: int = 0, process: int = -1, tpu: bool = False
) -> Launch | None:
    """Returns the processes of the run, from flags or else from the launcher's variables; None for a single process.

    Raises:
      ConfigError: incomplete flags, or contradictory variables.
    """
    launch = find_launch(environment, tpu)
    if not coordinator:
        if processes or process >= 0:
            raise ConfigError("--processes and --process need --coordinator=HOST:PORT, the address of process 0")
        return launch
    if not processes and process < 0 and launch is not None and launch.processes:
        return dataclasses.replace(launch, coordinator=coordinator, asks_platform=False)
    if not 0 <= process < processes:
        raise ConfigError(
            f"--coordinator needs --processes=N and --process=I with 0 <= I < N, got {processes} and {process}"
        )
    return Launch("flags", processes, process, coordinator=coordinator)


def local_process_count() -> int:
    """Returns the number of processes of the run that share this host's shared memory, this one included."""
    return _local_processes


def _place(launch: Launch) -> None:
    """Decides with the other processes which GPUs each one uses, and says which devices this one has.

    Raises:
      ConfigError: in all processes, if GPUs would be left idle or used twice; in this one, if JAX does not find them.
    """
    global _local_processes
    process, processes = distributed.global_state.process_id, distributed.global_state.num_processes
    gpus, ids = visible_gpus(), str(jax.config.read("jax_cuda_visible_devices"))
    chosen = tuple(int(place) for place in ids.split(",")) if gpus and ids != "all" else None
    mine = report(process, gpus, chosen)
    reports = [Report(**json.loads(text)) for text in exchange("placement", json.dumps(dataclasses.asdict(mine)))]
    answer: dict[str, Any] = {}
    if reports:  # in process 0
        reports = [dataclasses.replace(one, gpus=tuple(one.gpus)) for one in reports]
        try:
            answer = {"gpus": divide_gpus(reports), "local": processes_per_memory(reports)}
        except ConfigError as error:
            answer = {"error": str(error)}
    answer = json.loads(agree_on("placed", json.dumps(answer)))
    if "error" in answer:
        raise ConfigError(answer["error"])
    _local_processes = answer["local"][str(process)]
    own = answer["gpus"][str(process)]
    if own:
        jax.config.update("jax_cuda_visible_devices", ",".join(str(place) for place in own))
    devices = jax.local_devices()
    has = f"{len(devices)} x {'CPU' if devices[0].platform == 'cpu' else devices[0].device_kind}"
    who = f"process {process} of {processes} ({launch.launcher}) on {mine.host}"
    if own and len(devices) != len(own):
        raise ConfigError(
            f"{who} uses {has}, but {len(own)} GPUs are its own: see the messages of JAX, or set JAX_PLATFORMS=cpu to "
            "train without them"
        )
    which = f", of {len(gpus)} visible GPUs number {', '.join(map(str, own))}" if own else ""
    print(f"svilm train: {who}: {has}{which}", file=sys.stderr, flush=True)


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
