"""Kubernetes JobSets (jobset.x-k8s.io/v1alpha2, JobSet 0.10.1 or later), one per run, each with its config.

A slice of TPUs, or all machines with GPUs, is one Job whose pods are the processes. Any failed pod ends its Job, and
the JobSet creates all Jobs anew, since a run continues only with all of its processes. Why the Job failed decides
whether that counts: a saved run (status 75) and lost machines do not, a mistake in the config is final.
"""

from collections.abc import Sequence
from typing import Any

from svilm_jax.config import ConfigError
from svilm_jax.errors import EXIT_STOPPED
from svilm_jax.launch.run import COORDINATOR_PORT, FINAL_STATUSES, Run, Settings, check_name, check_paths
from svilm_jax.launch.yaml_text import documents_text

SUBMIT = "kubectl apply -f FILE"
_JOB, _CONTAINER = "workers", "trainer"
_CONFIG_FOLDER = "/etc/svilm"
# Pods are called NAME-workers-SLICE-INDEX-xxxxx, which must be a label of at most 63 characters.
_LONGEST_NAME = 63 - len(f"-{_JOB}-00-0000-xxxxx")
_INDEX = "JOB_COMPLETION_INDEX"


def render(runs: Sequence[Run], settings: Settings, comments: Sequence[str]) -> str:
    """Returns a stream of YAML documents: a ConfigMap and a JobSet for every run.

    Raises:
      ConfigError: what is missing for Kubernetes.
    """
    hardware = settings.hardware
    if not settings.image:
        raise ConfigError("--scheduler=jobset needs --image=IMAGE, a container image in which svilm_jax is installed")
    if settings.setup or settings.directives:
        raise ConfigError("--setup and --sbatch do not apply to --scheduler=jobset: the image has what a run needs")
    if not (hardware.gke or settings.node_selector):
        raise ConfigError(
            f"--accelerator={hardware.name}: its node label is not known; give it by --node-selector=KEY=VALUE"
        )
    for run in runs:
        check_name(run.name, _LONGEST_NAME)
        check_paths(run, settings, "Kubernetes")
    return documents_text([part for run in runs for part in (_config_map(run), _job_set(run, settings))], comments)


def _config_map(run: Run) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": run.name},
        "data": {"config.json": run.config_text},
    }


def _job_set(run: Run, settings: Settings) -> dict[str, Any]:
    hardware = settings.hardware
    metadata: dict[str, Any] = {"name": run.name}
    if hardware.platform == "tpu":  # a node pool is a slice, and belongs to one Job
        metadata["annotations"] = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": {
            "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
            "failurePolicy": {
                "maxRestarts": settings.max_restarts,
                "restartStrategy": "BlockingRecreate",  # the old pods release the workdir and the accelerators first
                "rules": _failure_rules(),
            },
            "replicatedJobs": [{"name": _JOB, "replicas": hardware.slices, "template": {"spec": _job(run, settings)}}],
        },
    }


def _failure_rules() -> list[dict[str, Any]]:
    """Returns what follows from a failed Job; without a matching rule, a restart that counts."""
    statuses = "|".join(map(str, FINAL_STATUSES))
    return [
        {
            "name": "mistakeOrDivergence",
            "action": "FailJobSet",
            "onJobFailureReasons": ["PodFailurePolicy"],
            "onJobFailureMessagePatterns": [rf"exit code ({statuses})\b"],
        },
        {
            "name": "savedOrMachineLost",
            "action": "RestartJobSetAndIgnoreMaxRestarts",
            "onJobFailureReasons": ["PodFailurePolicy"],
        },
    ]


def _job(run: Run, settings: Settings) -> dict[str, Any]:
    machines = settings.hardware.machines

    def on_exit(*statuses: int) -> dict[str, Any]:
        return {"containerName": _CONTAINER, "operator": "In", "values": sorted(statuses)}

    return {
        "completionMode": "Indexed",
        "completions": machines,
        "parallelism": machines,
        "backoffLimit": 0,
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onExitCodes": on_exit(*FINAL_STATUSES)},
                {"action": "FailJob", "onExitCodes": on_exit(EXIT_STOPPED)},
                {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": {"spec": _pod(run, settings)},
    }


def _pod(run: Run, settings: Settings) -> dict[str, Any]:
    hardware = settings.hardware
    resource = "google.com/tpu" if hardware.platform == "tpu" else "nvidia.com/gpu"
    resources: dict[str, Any] = {"limits": {resource: hardware.chips}}
    if settings.cpus:
        resources["requests"] = {"cpu": settings.cpus}
    volumes = {path: f"volume-{number}" for number, path in enumerate(settings.volumes)}
    container: dict[str, Any] = {
        "name": _CONTAINER,
        "image": settings.image,
        "command": [*run.command(f"{_CONFIG_FOLDER}/config.json"), *_processes(run, settings)],
        "resources": resources,
        "volumeMounts": [
            {"name": "config", "mountPath": _CONFIG_FOLDER, "readOnly": True},
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # decoded clips; 64 MiB otherwise
            *({"name": name, "mountPath": path} for path, name in volumes.items()),
        ],
    }
    if hardware.platform == "gpu":
        index = f"metadata.annotations['batch.kubernetes.io/{_INDEX.lower().replace('_', '-')}']"
        container["env"] = [{"name": _INDEX, "valueFrom": {"fieldRef": {"fieldPath": index}}}]
        container["ports"] = [{"containerPort": COORDINATOR_PORT}]
    return {
        "restartPolicy": "Never",  # a pod failure policy requires it
        "terminationGracePeriodSeconds": settings.grace_seconds,
        "nodeSelector": _node_selector(settings),
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": run.name}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
            *(
                {"name": name, "persistentVolumeClaim": {"claimName": settings.volumes[path]}}
                for path, name in volumes.items()
            ),
        ],
    }


def _processes(run: Run, settings: Settings) -> list[str]:
    """Returns the flags that join the processes; TPUs find each other through what GKE puts into the environment."""
    if settings.hardware.platform == "tpu":
        return []
    return [
        f"--coordinator={run.name}-{_JOB}-0-0.{run.name}:{COORDINATOR_PORT}",
        f"--processes={settings.hardware.machines}",
        f"--process=$({_INDEX})",
    ]


def _node_selector(settings: Settings) -> dict[str, str]:
    hardware = settings.hardware
    if settings.node_selector:
        return dict(settings.node_selector)
    if hardware.platform == "gpu":
        return {"cloud.google.com/gke-accelerator": hardware.gke}
    return {
        "cloud.google.com/gke-tpu-accelerator": hardware.gke,
        "cloud.google.com/gke-tpu-topology": hardware.topology,
    }
