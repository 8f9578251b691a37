"""Tests of the processes that are found in the environments of launchers, and of the address of process 0."""

import functools

import pytest

from svilm_jax.config import ConfigError
from svilm_jax.parallel.distributed import find_processes, initialize_distributed
from svilm_jax.parallel.launch_environment import Launch, coordinator_address, find_launch, first_host
from tests.parallel import launches

LAUNCHERS = {
    "SLURM": launches.slurm,
    "Open MPI": launches.open_mpi,
    "PMI": launches.hydra,
    "torchrun": launches.torchrun,
    "JAX_NUM_PROCESSES": launches.kubeflow,
    "TPU": launches.gke_tpu,
}
ALL = [*LAUNCHERS.values(), launches.open_mpi_5, launches.pals, launches.jobset]
TWO_SLICES = functools.partial(launches.gke_tpu, slices=2)


@pytest.mark.parametrize("environment", [*ALL, TWO_SLICES])
@pytest.mark.parametrize(("hosts", "local"), [(4, 1), (2, 4)])
def test_every_process_is_found_with_its_index(environment, hosts, local):
    if environment in (launches.gke_tpu, TWO_SLICES):
        hosts, local = hosts * local, 1  # one process per host of a pod
    found = [find_launch(environment(process, hosts, local)) for process in range(hosts * local)]
    assert [(one.processes, one.process) for one in found] == [(hosts * local, i) for i in range(hosts * local)]
    assert len({one.coordinator for one in found}) == 1
    if environment not in (launches.kubeflow, launches.jobset, launches.gke_tpu, TWO_SLICES):
        assert {one.local_processes for one in found} == {local}


@pytest.mark.parametrize("environment", [e for e in ALL if e is not launches.jobset])
def test_a_single_process_is_none_of_several(environment):
    assert find_launch(environment(0, 1, 1)) is None


@pytest.mark.parametrize("name", LAUNCHERS)
def test_launchers_are_named(name):
    assert find_launch(LAUNCHERS[name](0, 2, 1)).launcher == name


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        # A batch script or an interactive shell in an allocation of two tasks is a single process.
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_JOB_NODELIST": "n1"}, None),
        (launches.slurm(0, 2, 1) | {"SLURM_STEP_NUM_TASKS": "1"}, None),
        # A launcher inside a job step: SLURM has started two of its daemons.
        (launches.slurm(1, 2, 1) | launches.torchrun(9, 2, 8), "torchrun"),
        (launches.slurm(1, 2, 1) | launches.open_mpi(9, 2, 8), "Open MPI"),
        (launches.slurm(1, 2, 1) | launches.hydra(9, 2, 8), "PMI"),
        # `srun --mpi=pmi2`: both describe the same processes, and SLURM knows the hosts.
        (launches.slurm(1, 2, 1) | {"PMI_RANK": "1", "PMI_SIZE": "2"}, "SLURM"),
        # What a script exports for PyTorch, without the index of a process.
        (launches.slurm(1, 2, 1) | {"MASTER_ADDR": "a", "WORLD_SIZE": "2"}, "SLURM"),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, None),
        ({"MEGASCALE_COORDINATOR_ADDRESS": "a:8080"}, "TPU"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, "Kubernetes"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),
    ],
)
def test_which_launcher_decides(environment, expected):
    found = find_launch(environment)
    assert (found and found.launcher) == expected


def test_a_tpu_vm_is_asked_unless_that_is_switched_off():
    assert find_launch({}, on_tpu_vm=True).asks_platform
    assert find_launch({"TPU_SKIP_MDS_QUERY": "1"}, on_tpu_vm=True) is None


@pytest.mark.parametrize(
    ("environment", "host"),
    [
        (launches.slurm(5, 2, 4), "gpu01"),
        (launches.open_mpi(5, 2, 4), "192.0.2.2"),
        (launches.open_mpi(5, 2, 4) | {"SLURM_JOB_NODELIST": "n[3,7]"}, "n3"),  # `mpirun` on a login node
        (launches.open_mpi_5(5, 2, 4), "gpu01"),
        (launches.open_mpi(3, 1, 4), "127.0.0.1"),
        (launches.hydra(3, 1, 4), "127.0.0.1"),
        (launches.torchrun(5, 2, 4), "gpu01"),
        (launches.jobset(1, 2, 1), "run-workers-0-0.run"),
    ],
)
def test_the_port_depends_on_the_run_only(environment, host):
    def address(run, **more):
        told = environment | more
        return coordinator_address(find_launch(told), told, run)

    name, _, port = address("runs/a").rpartition(":")
    assert name == host
    assert 61440 <= int(port) < 65536
    assert port != "29500"  # where the agent of torchrun listens
    assert address("runs/a") == f"{name}:{port}" != address("runs/b")
    assert address("runs/a", JAX_COORDINATOR_PORT="1234") == f"{host}:1234"
    assert address("runs/a", JAX_COORDINATOR_ADDRESS="other:9") == "other:9"


def test_a_port_that_is_given_is_used():
    told = launches.kubeflow(1, 2, 1)
    assert coordinator_address(find_launch(told), told, "") == "run-node-0-0.run:5678"
    told = launches.torchrun(1, 2, 1) | {"TORCHELASTIC_USE_AGENT_STORE": "False"}
    assert coordinator_address(find_launch(told), told, "") == "gpu01:29500"
    for address in ("[fd00::2]:9", "a:9"):
        assert coordinator_address(Launch("flags", 2, 0, coordinator=address), {}, "") == address
    assert coordinator_address(Launch("flags", 2, 0, coordinator="[fd00::2]"), {}, "").startswith("[fd00::2]:6")


def test_a_run_on_several_hosts_needs_the_host_of_process_0(tmp_path):
    told = launches.hydra(0, 2, 4)
    with pytest.raises(ConfigError, match="PMI started 8 processes on several hosts.*JAX_COORDINATOR_ADDRESS"):
        coordinator_address(find_launch(told), told, "")
    nodes = tmp_path / "nodes"
    nodes.write_text("node7\nnode8\n")
    told |= {"PBS_NODEFILE": str(nodes)}
    assert coordinator_address(find_launch(told), told, "").startswith("node7:")


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("n1", "n1"), ("n1,m2", "n1"), ("n[001-016,20],m1", "n001"), ("n[3,5-7]", "n3"), ("r[1-2]n[3,5].x,m", "r1n3.x")],
)
def test_the_first_host_of_a_list(nodes, host):
    assert first_host(nodes) == host


def test_tasks_are_counted_per_node():
    told = launches.slurm(4, 3, 2) | {"SLURM_STEP_TASKS_PER_NODE": "2(x2),1", "SLURM_STEP_NUM_TASKS": "5"}
    assert find_launch(told).local_processes == 1


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (launches.slurm(0, 2, 1) | {"SLURM_PROCID": "x"}, "SLURM_PROCID='x': expected a number"),
        (launches.hydra(2, 2, 1), None),
        (launches.torchrun(2, 2, 1), "torchrun: the environment has process 2 of 2, counted from 0"),
        ({"JAX_NUM_PROCESSES": "2"}, "JAX_COORDINATOR_ADDRESS and JAX_PROCESS_ID"),
    ],
)
def test_contradictory_variables_are_refused(environment, message):
    with pytest.raises(ConfigError, match=message):
        find_launch(environment)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("", 2, 0), "need --coordinator"),
        (("", 0, 1), "need --coordinator"),
        (("a:1", 0, -1), "0 <= I < N"),
        (("a:1", 2, 2), "0 <= I < N"),
        (("a:1", 2, -1), "0 <= I < N"),
    ],
)
def test_incomplete_flags_are_refused(flags, message):
    with pytest.raises(ConfigError, match=message):
        initialize_distributed(*flags)


def test_flags_complete_or_replace_what_the_launcher_says():
    told = launches.hydra(1, 2, 1) | {"JAX_COORDINATOR_ADDRESS": "b:2"}
    found = find_processes(told, "a:1")
    assert (found.processes, found.process, found.coordinator) == (2, 1, "a:1")
    found = find_processes(told, "a:1", 4, 3)
    assert (found.launcher, found.processes, found.process, found.coordinator) == ("flags", 4, 3, "a:1")
