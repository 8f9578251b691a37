"""Tests of the JobSets. No cluster is here: what the API of JobSet requires is stated by `check_job_set`."""

import json
import re

import pytest
import yaml

from svilm_jax.config import ConfigError
from svilm_jax.launch import jobset
from tests.launch.runs import make_run, make_settings

# Fields of jobset.x-k8s.io/v1alpha2 with their types; "!": required. The API server refuses unknown fields.
SPEC = {"replicatedJobs!": list, "network": dict, "failurePolicy": dict, "successPolicy": dict, "suspend": bool}
NETWORK = {"enableDNSHostnames": bool, "publishNotReadyAddresses": bool, "subdomain": str}
FAILURE_POLICY = {"maxRestarts": int, "restartStrategy": str, "rules": list}
RULE = {
    "name!": str,
    "action!": str,
    "onJobFailureReasons": list,
    "onJobFailureMessagePatterns": list,
    "targetReplicatedJobs": list,
}
REPLICATED_JOB = {"name!": str, "template!": dict, "replicas": int, "dependsOn": list, "groupName": str}
STRATEGIES = {"Recreate", "BlockingRecreate", "InPlaceRestart"}
ACTIONS = {
    *("FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"),
    *("RestartJob", "RestartJobAndIgnoreMaxRestarts"),
}
REASONS = {
    *("BackoffLimitExceeded", "DeadlineExceeded", "FailedIndexes"),
    *("MaxFailedIndexesExceeded", "PodFailurePolicy"),
}
AGAIN = "RestartJobSetAndIgnoreMaxRestarts"
LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def check_fields(value, fields, where):
    required = {name.rstrip("!") for name in fields if name.endswith("!")}
    types = {name.rstrip("!"): kind for name, kind in fields.items()}
    assert required <= value.keys() <= types.keys(), where
    for name, found in value.items():
        assert isinstance(found, types[name]), f"{where}.{name}"


def check_job_set(document):
    """What the custom resource definition and the webhook of JobSet 0.10.1 check."""
    assert (document["apiVersion"], document["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert document.keys() == {"apiVersion", "kind", "metadata", "spec"}
    spec = document["spec"]
    check_fields(spec, SPEC, "spec")
    check_fields(spec["network"], NETWORK, "network")
    check_fields(spec["failurePolicy"], FAILURE_POLICY, "failurePolicy")
    assert spec["failurePolicy"]["restartStrategy"] in STRATEGIES
    names = [job["name"] for job in spec["replicatedJobs"]]
    for rule in spec["failurePolicy"]["rules"]:
        check_fields(rule, RULE, "rule")
        assert re.fullmatch(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", rule["name"])
        assert rule["action"] in ACTIONS
        assert set(rule.get("onJobFailureReasons", ())) <= REASONS
        assert set(rule.get("targetReplicatedJobs", ())) <= set(names)
    assert len(set(names)) == len(names)
    for job in spec["replicatedJobs"]:
        check_fields(job, REPLICATED_JOB, "replicatedJob")
        last_job, last_pod = job["replicas"] - 1, job["template"]["spec"]["completions"] - 1
        pod = f"{document['metadata']['name']}-{job['name']}-{last_job}-{last_pod}-xxxxx"
        assert LABEL.fullmatch(pod)
        assert len(pod) <= 63


def rendered(settings, run=None):
    config, job_set = yaml.safe_load_all(jobset.render([run or make_run()], settings, ["a comment"]))
    check_job_set(job_set)
    return config, job_set


def job_of(job_set):
    (replicated,) = job_set["spec"]["replicatedJobs"]
    return replicated["template"]["spec"]


def container_of(job_set):
    (container,) = job_of(job_set)["template"]["spec"]["containers"]
    return container


def test_slices_of_tpus():
    _, job_set = rendered(make_settings("v5p-128", slices=2, image="image"))
    pod = job_of(job_set)["template"]["spec"]
    assert job_set["spec"]["replicatedJobs"][0]["replicas"] == 2
    assert job_set["metadata"]["annotations"]["alpha.jobset.sigs.k8s.io/exclusive-topology"].endswith("nodepool")
    assert job_of(job_set)["completions"] == job_of(job_set)["parallelism"] == 16
    assert job_of(job_set)["completionMode"] == "Indexed"
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5p-slice",
        "cloud.google.com/gke-tpu-topology": "4x4x4",
    }
    assert container_of(job_set)["resources"]["limits"] == {"google.com/tpu": 4}
    # No shell in between: SIGTERM reaches the training. TPUs find each other.
    command = ["svilm", "train", "--config=/etc/svilm/config.json", "--workdir=gs://bucket/run"]
    assert container_of(job_set)["command"] == command


def test_machines_with_gpus_are_joined_through_the_name_of_the_first_pod():
    _, job_set = rendered(make_settings("H100:8", nodes=2, image="image", cpus=64))
    container = container_of(job_set)
    assert container["command"][-3:] == [
        "--coordinator=demo-workers-0-0.demo:8476",
        "--processes=2",
        "--process=$(JOB_COMPLETION_INDEX)",
    ]
    assert container["env"][0]["name"] == "JOB_COMPLETION_INDEX"
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 8}, "requests": {"cpu": 64}}
    assert job_of(job_set)["completions"] == 2


def test_the_config_is_mounted_and_shared_memory_is_large():
    run = make_run(train={"steps": 7})
    config, job_set = rendered(make_settings("v5e-8", image="image"), run)
    assert json.loads(config["data"]["config.json"]) == json.loads(json.dumps(run.config))
    pod = job_of(job_set)["template"]["spec"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container_of(job_set)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes[mounts["/etc/svilm"]]["configMap"]["name"] == config["metadata"]["name"]
    assert volumes[mounts["/dev/shm"]]["emptyDir"] == {"medium": "Memory"}
    assert volumes[mounts["/data"]]["persistentVolumeClaim"]["claimName"] == "claim"


@pytest.mark.parametrize(
    ("message", "action"),
    [
        # As the Job controller of Kubernetes words them.
        (
            "Container trainer for pod default/demo failed with exit code 2 matching FailJob rule at index 0",
            "FailJobSet",
        ),
        (
            "Container trainer for pod default/demo failed with exit code 65 matching FailJob rule at index 0",
            "FailJobSet",
        ),
        (
            "Container trainer for pod default/demo failed with exit code 75 matching FailJob rule at index 1",
            "RestartJobSetAndIgnoreMaxRestarts",
        ),
        (
            "Pod default/demo has condition DisruptionTarget matching FailJob rule at index 2",
            "RestartJobSetAndIgnoreMaxRestarts",
        ),
    ],
)
def test_what_follows_from_a_failed_job(message, action):
    _, job_set = rendered(make_settings("v5e-8", image="image"))
    first = next(
        rule
        for rule in job_set["spec"]["failurePolicy"]["rules"]
        if all(re.search(pattern, message) for pattern in rule.get("onJobFailureMessagePatterns", ()))
    )
    assert first["action"] == action


def test_exit_statuses_end_the_job_and_other_failures_count():
    _, job_set = rendered(make_settings("v5e-8", image="image", max_restarts=5, grace_seconds=99))
    job = job_of(job_set)
    statuses = [rule["onExitCodes"]["values"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    assert statuses == [[2, 65], [75]]
    assert job["backoffLimit"] == 0  # others end the Job at once too, for a reason that no rule of the JobSet names
    assert job_set["spec"]["failurePolicy"]["maxRestarts"] == 5
    assert job["template"]["spec"]["terminationGracePeriodSeconds"] == 99
    assert job["template"]["spec"]["restartPolicy"] == "Never"


def test_two_runs_have_documents_of_their_own():
    runs = [make_run("one"), make_run("two", train={"seed": 1})]
    documents = list(yaml.safe_load_all(jobset.render(runs, make_settings("v5e-8", image="image"), [])))
    assert [(document["kind"], document["metadata"]["name"]) for document in documents] == [
        *(("ConfigMap", "one"), ("JobSet", "one")),
        *(("ConfigMap", "two"), ("JobSet", "two")),
    ]


def test_other_nodes_are_selected_by_labels():
    settings = make_settings("MI300X:8", image="image", node_selector={"amd.com/gpu.product-name": "MI300X"})
    _, job_set = rendered(settings)
    assert job_of(job_set)["template"]["spec"]["nodeSelector"] == {"amd.com/gpu.product-name": "MI300X"}


@pytest.mark.parametrize(
    ("options", "run", "message"),
    [
        ({}, {}, "needs --image=IMAGE"),
        ({"image": "image", "setup": "true"}, {}, "--setup and --sbatch do not apply"),
        ({"image": "image"}, {"workdir": "runs/demo"}, "--workdir=runs/demo: is not on the machines"),
        ({"image": "image"}, {"input": {"dataset": "runs/data"}}, "config.input.dataset=runs/data: is not on the mach"),
        ({"image": "image"}, {"tokenizer": {"path": "vocab.txt"}}, "config.tokenizer.path=vocab.txt: is not on"),
        ({"image": "image"}, {"init": {"checkpoint": "/runs/x"}}, "config.init.checkpoint=/runs/x: is not on the mach"),
        ({"image": "image"}, {"name": "x" * 50}, "at most 41"),
        ({"image": "image"}, {"name": "Demo"}, "expected lowercase letters"),
    ],
)
def test_refused_runs(options, run, message):
    with pytest.raises(ConfigError, match=message):
        rendered(make_settings("v5e-8", **options), make_run(**run))


def test_a_gpu_without_a_known_label_needs_one():
    with pytest.raises(ConfigError, match="give it by --node-selector"):
        rendered(make_settings("MI300X:8", image="image"))
