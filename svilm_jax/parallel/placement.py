"""Placement of the processes of a run: which of them share a host, and which GPUs each one uses.

Every process reports what it sees, and one function of all reports decides for all processes. It does not ask which
launcher there is: what a process is shown also depends on options of the launcher, on containers and wrapper scripts.
"""

import collections
import dataclasses
import itertools
import socket
from collections.abc import Sequence
from pathlib import Path

from svilm_jax.config import ConfigError

_REMEDY = (
    "start one process per host or one per GPU (srun --ntasks-per-node=...), or show every process only its own GPUs "
    "(srun --gpus-per-task=..., or CUDA_VISIBLE_DEVICES)"
)


@dataclasses.dataclass(frozen=True)
class Report:
    """What a process sees.

    Attributes:
      process: its index.
      host: name of the host.
      memory: identifies the shared memory (`/dev/shm`), which containers of a host need not have in common.
      gpus: UUIDs of the visible GPUs, in CUDA's order.
      chosen: places in `gpus` that the user has chosen by JAX_LOCAL_DEVICE_IDS; None: not chosen.
    """

    process: int
    host: str
    memory: str
    gpus: tuple[str, ...] = ()
    chosen: tuple[int, ...] | None = None


def report(process: int, gpus: tuple[str, ...], chosen: tuple[int, ...] | None) -> Report:
    """Returns the report of this process."""
    boot, folder = Path("/proc/sys/kernel/random/boot_id"), Path("/dev/shm")
    memory = boot.read_text().strip() if boot.is_file() else socket.gethostname()
    if folder.is_dir():
        memory += f":{folder.stat().st_dev}"
    return Report(process, socket.gethostname(), memory, gpus, chosen)


def processes_per_memory(reports: Sequence[Report]) -> dict[int, int]:
    """Returns the number of processes with which each process shares `/dev/shm`, itself included."""
    counts = collections.Counter(one.memory for one in reports)
    return {one.process: counts[one.memory] for one in reports}


def divide_gpus(reports: Sequence[Report]) -> dict[int, tuple[int, ...]]:
    """Decides which of its visible GPUs each process uses.

    Processes that see the same GPUs divide them evenly, in the order of their indices: all of them for a single process
    of a host, one for each of as many processes as GPUs. A process that sees GPUs of its own uses all of these.

    Args:
      reports: of all processes.

    Returns:
      process -> places in its `gpus`.

    Raises:
      ConfigError: GPUs would be left idle or used twice, or a process has none while others do.
    """
    reports = sorted(reports, key=lambda one: one.process)
    places = {one.process: one.chosen for one in reports if one.chosen is not None}
    groups: dict[frozenset[str], list[Report]] = {}
    for one in reports:
        if one.process not in places:
            groups.setdefault(frozenset(one.gpus), []).append(one)
    for (first, sharing), (second, others) in itertools.combinations(groups.items(), 2):
        if first & second:
            raise ConfigError(
                f"{_name(sharing[0])} sees {len(first)} GPUs and {_name(others[0])} {len(second)}, of which "
                f"{len(first & second)} are the same: {_REMEDY}"
            )
    for sharing in groups.values():
        gpus, count = sharing[0].gpus, len(sharing)
        if gpus and len(gpus) % count:
            raise ConfigError(
                f"{count} processes on {sharing[0].host} see the same {len(gpus)} GPUs, which cannot be divided "
                f"evenly: {_REMEDY}"
            )
        each = len(gpus) // count
        for number, one in enumerate(sharing):
            own = gpus[number * each : (number + 1) * each]
            places[one.process] = tuple(one.gpus.index(gpu) for gpu in own)
    _check(reports, places)
    return places


def _check(reports: Sequence[Report], places: dict[int, tuple[int, ...]]) -> None:
    users: dict[str, Report] = {}
    for one in reports:
        for place in places[one.process]:
            if place >= len(one.gpus):
                raise ConfigError(
                    f"JAX_LOCAL_DEVICE_IDS names GPU {place}, and {_name(one)} sees {len(one.gpus)}, counted from 0"
                )
            gpu = one.gpus[place]
            if gpu in users:
                raise ConfigError(f"{_name(users[gpu])} and {_name(one)} would use the same {gpu}: {_REMEDY}")
            users[gpu] = one
    for one in reports:
        if users and not places[one.process]:
            raise ConfigError(f"{_name(one)} has no GPU, while others have: {_REMEDY}")


def _name(one: Report) -> str:
    return f"process {one.process} on {one.host}"
