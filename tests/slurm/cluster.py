"""SLURM cluster on this machine: two nodes on loopback addresses, with the packages of Debian or Ubuntu.

    python tests/slurm/cluster.py install    installs slurm-wlm and munge by apt-get if they are missing
    python tests/slurm/cluster.py run        starts a cluster, and ends it on Ctrl-C

All daemons belong to the user who starts it, root or not, who is also its administrator. Keys, state and logs are in a
temporary folder, ports are free ones, and the installation's own configuration is not read.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("slurm-wlm", "munge")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
NODES = ("127.0.0.1", "127.0.0.2")  # names that every machine can resolve: process 0 of a run is found by them
_PATIENCE = 120.0  # seconds for the nodes to appear
# Nodes have more cores than the machine, so that trials which mostly wait run side by side, and two GPUs each, which
# are devices that every machine has.
_CONF = """
ClusterName=svilm
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool.%n
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1
SlurmdParameters=config_overrides
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName=127.0.0.[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]},{ports[2]}] CPUs=4 RealMemory=8000 \
Gres=gpu:2
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=300
PartitionName=high Nodes=ALL PriorityTier=2 PreemptMode=OFF
"""
_GRES = "NodeName=127.0.0.[1-2] Name=gpu File=/dev/null\nNodeName=127.0.0.[1-2] Name=gpu File=/dev/zero\n"


def missing() -> list[str]:
    """Names of the programs that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


def install() -> int:
    """Installs what is missing; a machine on which that is not possible is told so, and left alone."""
    if not missing():
        return 0
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") is None or (sudo and subprocess.run([*sudo, "true"], check=False).returncode):
        print("SLURM is not installed: that needs apt-get, and root or sudo. Its tests are skipped.")
        return 0
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run([*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *arguments], check=False)
        if done.returncode:
            return done.returncode
    return 0


@contextlib.contextmanager
def running_cluster() -> Iterator[dict[str, str]]:
    """Starts a cluster; yields the environment in which the commands of SLURM find it."""
    folder = Path(tempfile.mkdtemp(prefix="svilm_slurm_"))
    folder.chmod(0o755)  # munge insists that everyone may reach its socket
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": PATH}
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        _configure(folder)
        munge = [f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in ("key-file", "socket", "pid-file")]
        munge += [f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed"]
        commands = [["munged", "--foreground", *munge], ["slurmctld", "-D"]]
        commands += [["slurmd", "-D", "-N", node] for node in NODES]
        for command in commands:
            daemons.append(_start(command, environment, folder / "daemons.log"))
            if command[0] == "munged":
                _wait_until((folder / "munge.socket").exists, daemons, folder)
        _wait_until(lambda: _are_idle(environment), daemons, folder)
        yield environment
    finally:
        _end(daemons, environment)
        shutil.rmtree(folder, ignore_errors=True)


def _configure(folder: Path) -> None:
    (folder / "state").mkdir(mode=0o700)
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(3)]
        for listener in listeners:
            listener.bind(("", 0))
        ports = sorted(listener.getsockname()[1] for listener in listeners)
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    host = socket.gethostname().partition(".")[0]
    (folder / "slurm.conf").write_text(_CONF.format(folder=folder, user=user, host=host, ports=ports))
    (folder / "gres.conf").write_text(_GRES)
    (folder / "cgroup.conf").write_text(f"CgroupPlugin={_cgroup_plugin()}\n")


def _cgroup_plugin() -> str:
    """Nothing uses it, but slurmd loads one. That of version 2 needs systemd; SLURM before 23.02 cannot do without."""
    told = subprocess.run([shutil.which("slurmd", path=PATH), "-V"], capture_output=True, text=True, check=True).stdout
    major, minor = re.search(r"(\d+)\.(\d+)", told).groups()
    return "disabled" if (int(major), int(minor)) >= (23, 2) else "cgroup/v1"


def _start(command: list[str], environment: dict[str, str], log: Path) -> "subprocess.Popen[bytes]":
    program = shutil.which(command[0], path=PATH)
    with log.open("ab") as output:
        return subprocess.Popen(
            [program or command[0], *command[1:]],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C of a test run ends the cluster in order
        )


def _are_idle(environment: dict[str, str]) -> bool:
    told = subprocess.run(
        ["sinfo", "-h", "-N", "-p", "low", "-o", "%T"], env=environment, capture_output=True, text=True, check=False
    )
    return told.stdout.split() == ["idle"] * len(NODES)


def _wait_until(condition, daemons, folder: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        ended = [daemon.args for daemon in daemons if daemon.poll() is not None]
        if ended or time.monotonic() > end:
            logs = "\n".join(f"{log}:\n{log.read_text()[-2000:]}" for log in sorted(folder.glob("*.log")))
            raise RuntimeError(f"SLURM did not start (ended: {ended})\n{logs}")
        time.sleep(0.1)


def _end(daemons, environment: dict[str, str]) -> None:
    """Ends the daemons, the last one first, and whatever else belongs to the cluster."""
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    mark = f"SLURM_CONF={environment['SLURM_CONF']}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(process.name) != os.getpid() and mark in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)


def main(action: str) -> int:
    if action == "install":
        return install()
    with running_cluster() as environment, contextlib.suppress(KeyboardInterrupt):
        print(f"export SLURM_CONF={environment['SLURM_CONF']}\nCtrl-C ends the cluster", flush=True)
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2] or ["run"]))
