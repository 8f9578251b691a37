"""Processes of a run as their launcher describes them in the environment: number, index, address of process 0.

JAX has such a detection as well. It is used only where the platform has to be asked: the metadata server of TPU VMs and
the API of Kubernetes. Under SLURM and Open MPI, it gives every process the GPU whose number is that of the process on
its host, also if there is one process for all GPUs, or if the launcher shows each process only its own.
"""

import dataclasses
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from svilm_jax.config import ConfigError

Environment = Mapping[str, str]

_FIRST_PORT, _PORTS = 61440, 4096  # above the range from which Linux takes ports of outgoing connections


@dataclasses.dataclass(frozen=True)
class Launch:
    """What a launcher tells a process.

    Attributes:
      launcher: its name, for messages.
      processes: number of processes of the run; 0: JAX asks the platform.
      process: index of this one.
      local_processes: number of processes of the run on this host; 0: unknown.
      coordinator: HOST or HOST:PORT of process 0; "": unknown, or JAX asks the platform.
      job: identifies the run among those of a host.
      asks_platform: JAX finds the coordinator, and the numbers if they are not known.
    """

    launcher: str
    processes: int
    process: int
    local_processes: int = 0
    coordinator: str = ""
    job: str = ""
    asks_platform: bool = False


def find_launch(environment: Environment, on_tpu_vm: bool = False) -> Launch | None:
    """Finds the launcher that started this process as one of several.

    A launcher inside another one decides: `torchrun` and `mpirun` in a job step of SLURM, whose variables then describe
    the launcher's own processes.

    Args:
      environment: environment variables.
      on_tpu_vm: whether this machine has TPUs.

    Returns:
      The launch; None for a single process.

    Raises:
      ConfigError: contradictory variables.
    """
    finders: tuple[Callable[[Environment], Launch | None], ...] = (
        _of_jax,
        _of_torchrun,
        _of_open_mpi,
        _of_mpi,
        _of_slurm,
        _of_pmi,
        _of_tpu_pod,
        _of_kubernetes,
    )
    for find in finders:
        if (launch := find(environment)) is not None:
            if launch.processes and not 0 <= launch.process < launch.processes:
                raise ConfigError(
                    f"{launch.launcher}: the environment has process {launch.process} of {launch.processes}, counted "
                    "from 0; unset the variables of the launcher if it did not start this process"
                )
            if launch.processes == 1:
                return None
            # For a launch that asks the platform, JAX reads that variable.
            address = "" if launch.asks_platform else environment.get("JAX_COORDINATOR_ADDRESS", "")
            return dataclasses.replace(launch, coordinator=address or launch.coordinator)
    # A TPU VM: whether it is part of a pod is only known by asking, which does no harm.
    return _TPU if on_tpu_vm and not environment.get("TPU_SKIP_MDS_QUERY") else None


def coordinator_address(launch: Launch, environment: Environment, run: str) -> str:
    """Returns HOST:PORT of process 0.

    A port that is not given, also not by JAX_COORDINATOR_PORT, is derived from the job and from `run`, such as the
    workdir, which all processes of a run and no others have in common.

    Raises:
      ConfigError: the host is not known.
    """
    host = launch.coordinator
    if not host and 0 < launch.local_processes == launch.processes:
        host = "127.0.0.1"
    if not host:
        raise ConfigError(
            f"{launch.launcher} started {launch.processes} processes on several hosts, but the environment does not "
            "say on which one process 0 runs: set --coordinator=HOST:PORT or JAX_COORDINATOR_ADDRESS"
        )
    if re.search(r"(\]|^[^:]*):\d+$", host):
        return host
    port = _FIRST_PORT + zlib.crc32(f"{launch.job} {run}".encode()) % _PORTS
    if environment.get("JAX_COORDINATOR_PORT"):
        port = _number(environment, "JAX_COORDINATOR_PORT")
    return f"{host}:{port}"


_TPU = Launch("TPU", 0, 0, asks_platform=True)


def _of_jax(environment: Environment) -> Launch | None:
    """Variables that Kubeflow Trainer sets, and that a job description can set anywhere."""
    if not environment.get("JAX_NUM_PROCESSES"):
        return None
    index = "JAX_PROCESS_ID" if environment.get("JAX_PROCESS_ID") else "JOB_COMPLETION_INDEX"
    if not environment.get(index) or not environment.get("JAX_COORDINATOR_ADDRESS"):
        raise ConfigError(
            "JAX_NUM_PROCESSES is set: JAX_COORDINATOR_ADDRESS and JAX_PROCESS_ID (or JOB_COMPLETION_INDEX, in an "
            "indexed Kubernetes job) are needed as well"
        )
    processes, process = _number(environment, "JAX_NUM_PROCESSES"), _number(environment, index)
    return Launch("JAX_NUM_PROCESSES", processes, process, coordinator=environment["JAX_COORDINATOR_ADDRESS"])


def _of_torchrun(environment: Environment) -> Launch | None:
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= environment.keys():
        return None
    host, port = environment["MASTER_ADDR"], environment.get("MASTER_PORT", "")
    # Then the agent of torchrun itself listens on that port.
    taken = environment.get("TORCHELASTIC_USE_AGENT_STORE", "") == "True"
    return Launch(
        "torchrun",
        _number(environment, "WORLD_SIZE"),
        _number(environment, "RANK"),
        _number(environment, "LOCAL_WORLD_SIZE", 0),
        coordinator=host if taken or not port else f"{host}:{port}",
        job=f"{environment.get('TORCHELASTIC_RUN_ID', '')} {port}",
    )


def _of_open_mpi(environment: Environment) -> Launch | None:
    if not {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"} <= environment.keys():
        return None
    # Releases 1 to 4 and, from 5 on, the name that PRRTE gives the job. Process 0 usually runs beside `mpirun`.
    by_uri = re.search(r"tcp://([^,:]+)|tcp6://\[([^,\]]+)", environment.get("OMPI_MCA_orte_hnp_uri", ""))
    by_name = re.match(r"prterun-(.+)-\d+@", environment.get("PMIX_NAMESPACE", ""))
    host = ""
    if by_uri:
        host = by_uri.group(1) or f"[{by_uri.group(2)}]"
    elif by_name:
        host = by_name.group(1)
    processes = _number(environment, "OMPI_COMM_WORLD_SIZE")
    local = _number(environment, "OMPI_COMM_WORLD_LOCAL_SIZE", 0)
    return Launch(
        "Open MPI",
        processes,
        _number(environment, "OMPI_COMM_WORLD_RANK"),
        local,
        coordinator="" if local == processes else _first_of_allocation(environment) or host,
        job=environment.get("PMIX_NAMESPACE", ""),
    )


def _of_mpi(environment: Environment) -> Launch | None:
    """Launchers with the process management interface that count the processes of a host.

    Hydra (MPICH, Intel MPI) and PALS (HPE Cray). Within SLURM they come first: they have started themselves by `srun`.
    """
    local = next((name for name in ("MPI_LOCALNRANKS", "PMI_LOCAL_SIZE") if environment.get(name)), "")
    return _of_pmi(environment, _number(environment, local)) if local else None


def _of_pmi(environment: Environment, local: int = 0) -> Launch | None:
    if not {"PMI_RANK", "PMI_SIZE"} <= environment.keys():
        return None
    processes = _number(environment, "PMI_SIZE")
    return Launch(
        "PMI",
        processes,
        _number(environment, "PMI_RANK"),
        local,
        coordinator="" if local == processes else _first_of_allocation(environment),
        job=environment.get("PMI_JOBID", ""),
    )


def _of_slurm(environment: Environment) -> Launch | None:
    """A task of a job step.

    SLURM_NTASKS also describes the allocation, of which a batch script or an interactive shell is a single process.
    """
    needed = {"SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"}
    if not needed <= environment.keys():
        return None
    node = _number(environment, "SLURM_NODEID", 0)
    tasks = _expand_counts(environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    return Launch(
        "SLURM",
        _number(environment, "SLURM_STEP_NUM_TASKS"),
        _number(environment, "SLURM_PROCID"),
        tasks[node] if node < len(tasks) else 0,
        coordinator=first_host(environment["SLURM_STEP_NODELIST"]),
        job=f"{environment['SLURM_JOB_ID']}.{environment.get('SLURM_STEP_ID', '')}",
    )


def _of_tpu_pod(environment: Environment) -> Launch | None:
    """Variables that GKE sets, and those of several slices."""
    hosts = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES", "")
    if not hosts:
        return _TPU if environment.get("MEGASCALE_COORDINATOR_ADDRESS") else None
    count = len(hosts.split(","))
    slices = _number(environment, "MEGASCALE_NUM_SLICES", 1)
    slice_index = _number(environment, "MEGASCALE_SLICE_ID", 0)
    process = slice_index * count + _number(environment, "TPU_WORKER_ID", 0)
    return Launch("TPU", slices * count, process, asks_platform=True)


def _of_kubernetes(environment: Environment) -> Launch | None:
    """An indexed job. Its size is not in the environment: JAX asks the API server, or JAX_NUM_PROCESSES gives it."""
    if not {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= environment.keys():
        return None
    return Launch("Kubernetes", 0, _number(environment, "JOB_COMPLETION_INDEX"), asks_platform=True)


def first_host(nodes: str) -> str:
    """Returns the first host of a list as SLURM writes it: `n1,n2`, `n[001-016,20],m1`, `rack[1-2]n[3,5]`."""
    expanded = re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", nodes)
    return expanded.partition(",")[0]


def _expand_counts(text: str) -> list[int]:
    """Returns the numbers that SLURM abbreviates as `2(x3),1`."""
    counts: list[int] = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", text):
        counts += [int(count)] * int(times or 1)
    return counts


def _first_of_allocation(environment: Environment) -> str:
    """Returns the first host of the job in which an MPI launcher runs, where it puts process 0; "" if unknown."""
    if nodes := environment.get("SLURM_JOB_NODELIST"):
        return first_host(nodes)
    file = environment.get("PBS_NODEFILE", "")
    if file and Path(file).is_file():
        return Path(file).read_text(encoding="utf-8").partition("\n")[0].strip()
    return ""


def _number(environment: Environment, name: str, default: int | None = None) -> int:
    value = environment.get(name, "")
    if not value and default is not None:
        return default
    if not value.isdigit():
        raise ConfigError(f"environment variable {name}={value!r}: expected a number; the launcher sets it")
    return int(value)
