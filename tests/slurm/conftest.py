"""Fixture: a real SLURM cluster, which the commands of SLURM and the launcher find in the environment."""

import datetime as dt
import os
import subprocess
import time

import pytest

from svilm_jax.sweeps.launchers.slurm.commands import list_tasks
from tests.slurm.cluster import missing, running_cluster


class Cluster:
    """What its administrator does."""

    def run(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def set_node(self, name: str, state: str) -> None:
        self.run("scontrol", "update", f"NodeName={name}", f"State={state}", "Reason=test")

    def hasten(self) -> None:
        """Lets requeued jobs start soon: SLURM waits for two minutes, until their old credentials have expired.

        Not at once: a node refuses a credential of the second in which it revoked the old one.
        """
        late = (dt.datetime.now() + dt.timedelta(seconds=30)).isoformat()
        for line in self.run("squeue", "-h", "-r", "-t", "PENDING", "-o", "%i %r %S").splitlines():
            id, reason, start = line.split()
            if reason == "BeginTime" and start != "N/A" and start > late:
                self.run("scontrol", "update", f"JobId={id}", "StartTime=now+3")

    def is_empty(self) -> bool:
        return not any(task.is_active for task in list_tasks())


@pytest.fixture(scope="module")
def cluster():
    if missing():
        told = f"no {missing()[0]}: `make test-services` installs SLURM where it finds apt-get and root or sudo"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    with running_cluster() as environment, pytest.MonkeyPatch.context() as patch:
        for name in ("SLURM_CONF", "PATH"):
            patch.setenv(name, environment[name])
        yield Cluster()


@pytest.fixture
def wait_for():
    """Waits for an event, however long a busy machine takes."""

    def wait(condition, meanwhile=lambda: None, seconds=600):
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, "waited in vain"
            meanwhile()
            time.sleep(0.1)
        return found

    return wait
