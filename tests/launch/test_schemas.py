"""Files of `svilm launch` against the schemas of SkyPilot and Kubernetes, from the packages that ship them."""

import copy
import json
import os
import subprocess
import sys

import pytest
import yaml

from svilm_jax.launch import jobset, skypilot
from tests.launch.runs import make_run, make_settings

pytestmark = pytest.mark.environment("launch")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="no kubernetes_validate: make test-launch")

TASKS = {
    "tpu": make_settings("v5p-128", cpus=100),
    "usual name": make_settings("v5e-8", image="image"),
    "gpu": make_settings("H100:8", nodes=4, setup="make"),
}
JOB_SETS = {
    "slices": make_settings("v5p-128", slices=2, image="image"),
    "gpus": make_settings("H100:8", nodes=4, image="image", cpus=64),
    "other nodes": make_settings("MI300X:8", image="image", node_selector={"zone": "a"}),
}
# Reads tasks from its input and prints what is wrong with each. SkyPilot gets a home of its own, and no user to count.
CHECK = """
import json, sys
import sky
from sky.utils import common_utils, schemas
for task in json.load(sys.stdin):
    try:
        common_utils.validate_schema(task, schemas.get_task_schema(), "task: ")
        common_utils.validate_schema(task["resources"], schemas.get_resources_schema(), "resources: ")
        sky.Task.from_yaml_config(task)
        print("verdict: valid")
    except Exception as error:
        print("verdict:", type(error).__name__, " ".join(str(error).split()))
"""


def test_skypilot_accepts_the_tasks_and_finds_mistakes(tmp_path):
    tasks = [yaml.safe_load(skypilot.render([make_run()], settings, [])) for settings in TASKS.values()]
    wrong = copy.deepcopy(tasks[0])
    wrong["resources"]["job_recovery"]["recover_on_exit_codes"] = ["75"]
    unknown = copy.deepcopy(tasks[0])
    unknown["volume"] = unknown.pop("volumes")
    environment = {**os.environ, "HOME": str(tmp_path), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        input=json.dumps([*tasks, wrong, unknown]),
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    verdicts = [line.removeprefix("verdict: ") for line in done.stdout.splitlines() if line.startswith("verdict: ")]
    *found, of_wrong, of_unknown = verdicts
    assert found == ["valid"] * len(tasks)
    assert "'75' is not of type 'integer'" in of_wrong
    assert "'volume'" in of_unknown


def job_of(settings):
    """The Job that the JobSet controller makes of the template, and the ConfigMap."""
    config, job_set = yaml.safe_load_all(jobset.render([make_run()], settings, []))
    (replicated,) = job_set["spec"]["replicatedJobs"]
    spec = replicated["template"]["spec"]
    return config, {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "demo-workers-0"}, "spec": spec}


@pytest.mark.parametrize("name", JOB_SETS)
def test_kubernetes_accepts_the_jobs(name):
    for document in job_of(JOB_SETS[name]):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize(("key", "value"), [("backoffLimits", 0), ("completions", "two"), ("podFailurePolicy", [])])
def test_kubernetes_refuses_a_mistake(key, value):
    _, job = job_of(JOB_SETS["gpus"])
    job["spec"][key] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
