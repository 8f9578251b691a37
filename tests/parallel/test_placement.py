"""Tests of the GPUs that each process of a run uses, for what launchers and their options show to processes.

The number that a process passes to CUDA, `jax_cuda_visible_devices`, counts the GPUs that its CUDA_VISIBLE_DEVICES
names, or those that the limits of its job leave.
"""

import ctypes

import pytest

from svilm_jax.config import ConfigError
from svilm_jax.parallel.cuda_devices import read_uuids
from svilm_jax.parallel.launch_environment import find_launch
from svilm_jax.parallel.placement import Report, divide_gpus, processes_per_memory, report
from tests.parallel import launches


def reports(environments, local, on_host, limited=None):
    """What processes see: CUDA_VISIBLE_DEVICES of the environment among the GPUs of the host.

    `limited`: number on the host -> the GPUs that control groups leave to the process, if they differ.
    """
    seen = []
    for environment in environments:
        process = find_launch(environment).process
        host, number = divmod(process, local)
        allowed = range(on_host) if limited is None else limited(number)
        gpus = [f"GPU-{host}-{gpu}" for gpu in allowed]
        shown = environment.get("CUDA_VISIBLE_DEVICES")
        if shown is not None:
            gpus = [gpus[int(place)] for place in shown.split(",")]
        seen.append(Report(process, f"host{host}", f"memory{host}", tuple(gpus)))
    return seen


def cuda(environments, local, on_host, limited=None):
    """process -> `jax_cuda_visible_devices`."""
    places = divide_gpus(reports(environments, local, on_host, limited))
    return [",".join(map(str, places[process])) for process in range(len(environments))]


@pytest.mark.parametrize("launcher", [launches.slurm, launches.open_mpi, launches.hydra, launches.torchrun])
@pytest.mark.parametrize(
    ("hosts", "local", "on_host", "expected"),
    [
        (2, 1, 8, ["0,1,2,3,4,5,6,7"] * 2),  # one process per host
        (2, 4, 4, ["0", "1", "2", "3"] * 2),  # one process per GPU
        (2, 2, 8, ["0,1,2,3", "4,5,6,7"] * 2),  # one process per socket
        (2, 2, 0, [""] * 4),
    ],
)
def test_processes_that_see_the_same_gpus_divide_them(launcher, hosts, local, on_host, expected):
    assert cuda([launcher(i, hosts, local) for i in range(hosts * local)], local, on_host) == expected


@pytest.mark.parametrize(
    ("show", "limited", "expected"),
    [
        # srun --gpus-per-task=1 with control groups: each task sees one GPU, which is number 0 of its own.
        (lambda i: {"CUDA_VISIBLE_DEVICES": "0"}, lambda i: [i], ["0"] * 4),
        # The same without control groups: SLURM numbers the GPUs of the node.
        (lambda i: {"CUDA_VISIBLE_DEVICES": str(i)}, None, ["0"] * 4),
        # srun --gpus-per-node=4: all tasks see all of them.
        (lambda i: {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, lambda i: range(4), ["0", "1", "2", "3"]),
        # An allocation of a part of the node, without control groups.
        (lambda i: {"CUDA_VISIBLE_DEVICES": "4,5,6,7"}, None, ["0", "1", "2", "3"]),
        # --gpus-per-task=2: as many GPUs as there are processes, but not the same ones.
        (lambda i: {"CUDA_VISIBLE_DEVICES": f"{2 * i},{2 * i + 1}"}, None, ["0,1"] * 4),
        # A wrapper that rotates the GPUs, so that each process's own is the first one.
        (lambda i: {"CUDA_VISIBLE_DEVICES": ",".join(str((i + k) % 4) for k in range(4))}, None, ["0"] * 4),
    ],
)
def test_gpus_that_slurm_or_a_wrapper_binds_are_used_as_they_are(show, limited, expected):
    environments = [launches.slurm(i, 1, 4, **show(i)) for i in range(4)]
    assert cuda(environments, 4, 8, limited) == expected


def test_processes_bound_to_the_gpus_of_their_socket_divide_these():
    """srun --gpu-bind=closest with four tasks on two sockets of two GPUs."""
    show = ("0,1", "0,1", "2,3", "2,3")
    environments = [launches.slurm(i, 1, 4, CUDA_VISIBLE_DEVICES=show[i]) for i in range(4)]
    assert cuda(environments, 4, 4) == ["0", "1", "0", "1"]


@pytest.mark.parametrize(
    ("shown", "on_host", "message"),
    [
        (["0,1,2,3"] * 3, 4, "3 processes on host0 see the same 4 GPUs, which cannot be divided evenly: start one"),
        (["0,1"] * 4, 2, "4 processes on host0 see the same 2 GPUs, which cannot be divided evenly"),
        (["0,1", "1,2"], 4, "process 0 on host0 sees 2 GPUs and process 1 on host0 2, of which 1 are the same"),
        (["0,1", "0"], 2, "sees 2 GPUs and process 1 on host0 1, of which 1 are the same"),
    ],
)
def test_idle_and_doubly_used_gpus_are_refused_with_advice(shown, on_host, message):
    environments = [launches.slurm(i, 1, len(shown), CUDA_VISIBLE_DEVICES=one) for i, one in enumerate(shown)]
    with pytest.raises(ConfigError, match=message + ".*--gpus-per-task"):
        cuda(environments, len(shown), on_host)


def test_a_process_without_gpus_among_others_is_refused():
    seen = [Report(0, "a", "a", ("GPU-1",)), Report(1, "b", "b")]
    with pytest.raises(ConfigError, match="process 1 on b has no GPU, while others have"):
        divide_gpus(seen)


def test_a_choice_of_the_user_is_kept_unless_it_cannot_work():
    def chosen(*places):
        return [Report(i, "a", "a", ("x", "y"), (place,)) for i, place in enumerate(places)]

    assert divide_gpus(chosen(1, 0)) == {0: (1,), 1: (0,)}
    with pytest.raises(ConfigError, match="process 0 on a and process 1 on a would use the same x"):
        divide_gpus(chosen(0, 0))
    with pytest.raises(ConfigError, match="JAX_LOCAL_DEVICE_IDS names GPU 2, and process 0 on a sees 2"):
        divide_gpus(chosen(2, 1))


def test_processes_that_share_a_memory_are_counted():
    seen = [Report(i, "a", memory) for i, memory in enumerate("xxyx")]
    assert processes_per_memory(seen) == {0: 3, 1: 3, 2: 1, 3: 3}
    assert report(0, (), None).memory == report(1, (), None).memory


class Driver:
    """As much of CUDA's driver as is asked; `failing` names the call that returns an error."""

    def __init__(self, gpus, failing=""):
        self.gpus, self.failing = gpus, failing

    def cuInit(self, flags):
        return 100 * (self.failing == "cuInit")

    def cuDeviceGetCount(self, count):
        count._obj.value = len(self.gpus)
        return 0

    def cuDeviceGet(self, device, ordinal):
        device._obj.value = ordinal + 10
        return 0

    def cuDeviceGetUuid_v2(self, identity, device):
        ctypes.memmove(identity._obj, self.gpus[device.value - 10], 16)
        return 100 * (self.failing == "cuDeviceGetUuid_v2")


def test_gpus_are_named_by_their_uuid():
    gpus = [bytes(range(16)), bytes(16)]
    first = "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert read_uuids(Driver(gpus)) == (first, "GPU-00000000-0000-0000-0000-000000000000")
    assert read_uuids(Driver(gpus, "cuInit")) == read_uuids(Driver(gpus, "cuDeviceGetUuid_v2")) == ()
