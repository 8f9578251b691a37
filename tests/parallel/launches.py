"""Environments that launchers give their processes, recorded or as documented, for any number of hosts and processes.

Open MPI 4.1.4 and Hydra 4.0.2 were run and asked with `env`; variables that nothing here reads are left out.
"""


def slurm(process, hosts, local, gpus=0, **more):
    """`srun --nodes=HOSTS --ntasks-per-node=LOCAL`."""
    nodes = f"gpu[01-{hosts:02}]" if hosts > 1 else "gpu01"
    told = {
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NODELIST": nodes,
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_NUM_TASKS": str(hosts * local),
        "SLURM_STEP_TASKS_PER_NODE": f"{local}(x{hosts})" if hosts > 1 else str(local),
        "SLURM_NTASKS": str(hosts * local),
        "SLURM_PROCID": str(process),
        "SLURM_LOCALID": str(process % local),
        "SLURM_NODEID": str(process // local),
    }
    return told | ({"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(gpus)))} if gpus else {}) | more


def open_mpi(process, hosts, local):
    return {
        "OMPI_COMM_WORLD_SIZE": str(hosts * local),
        "OMPI_COMM_WORLD_RANK": str(process),
        "OMPI_COMM_WORLD_LOCAL_SIZE": str(local),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(process % local),
        "OMPI_MCA_ess_base_jobid": "615645185",
        "OMPI_MCA_orte_hnp_uri": "615645184.0;tcp://192.0.2.2,10.0.0.2:55237;tcp6://[fd00::2]:34779",
        "PMIX_NAMESPACE": "615645185",
        "PMIX_RANK": str(process),
    }


def open_mpi_5(process, hosts, local):
    told = {k: v for k, v in open_mpi(process, hosts, local).items() if k.startswith("OMPI_COMM")}
    return told | {"PMIX_NAMESPACE": "prterun-gpu01-18508@1", "PMIX_RANK": str(process)}


def hydra(process, hosts, local):
    """MPICH and Intel MPI."""
    return {
        "PMI_RANK": str(process),
        "PMI_SIZE": str(hosts * local),
        "PMI_FD": "6",
        "MPI_LOCALRANKID": str(process % local),
        "MPI_LOCALNRANKS": str(local),
        "HYDI_CONTROL_FD": "7",
    }


def pals(process, hosts, local):
    return {
        "PMI_RANK": str(process),
        "PMI_SIZE": str(hosts * local),
        "PMI_LOCAL_RANK": str(process % local),
        "PMI_LOCAL_SIZE": str(local),
    }


def torchrun(process, hosts, local):
    return {
        "RANK": str(process),
        "WORLD_SIZE": str(hosts * local),
        "LOCAL_RANK": str(process % local),
        "LOCAL_WORLD_SIZE": str(local),
        "GROUP_RANK": str(process // local),
        "GROUP_WORLD_SIZE": str(hosts),
        "MASTER_ADDR": "gpu01",
        "MASTER_PORT": "29500",
        "TORCHELASTIC_RUN_ID": "none",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


def kubeflow(process, hosts, local):
    """Kubeflow Trainer: one process per pod."""
    return {
        "JAX_NUM_PROCESSES": str(hosts * local),
        "JAX_PROCESS_ID": str(process),
        "JAX_COORDINATOR_ADDRESS": "run-node-0-0.run:5678",
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "JOB_COMPLETION_INDEX": str(process),
    }


def jobset(process, hosts, local):
    """One indexed job of a JobSet that passes on its size and its coordinator."""
    return {
        "JAX_NUM_PROCESSES": str(hosts * local),
        "JAX_COORDINATOR_ADDRESS": "run-workers-0-0.run",
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "JOB_COMPLETION_INDEX": str(process),
    }


def gke_tpu(process, hosts, local, slices=1):
    """A pod with TPUs; `hosts` in all slices together."""
    each = hosts // slices
    told = {
        "TPU_WORKER_HOSTNAMES": ",".join(f"w{i}" for i in range(each)),
        "TPU_WORKER_ID": str(process % each),
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "JOB_COMPLETION_INDEX": str(process % each),
    }
    several = {
        "MEGASCALE_NUM_SLICES": str(slices),
        "MEGASCALE_SLICE_ID": str(process // each),
        "MEGASCALE_COORDINATOR_ADDRESS": "w0:8080",
    }
    return told | (several if slices > 1 else {})
