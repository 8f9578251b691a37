"""Tests of sweeps on a real SLURM cluster of two nodes, with trials that train nothing."""

import csv
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from svilm_jax.main import main
from svilm_jax.sweeps.attempts import ATTEMPTS, read_history
from svilm_jax.sweeps.launchers.launcher import Job
from svilm_jax.sweeps.launchers.slurm import SlurmLauncher, submission
from svilm_jax.sweeps.launchers.slurm.commands import list_tasks, submit_array
from tests.slurm import noop_sweep
from tests.slurm.cluster import NODES
from tests.sweeps import noop_sweep as local_sweep

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]


def controller(folder, count, release):
    command = [sys.executable, "-m", "tests.slurm.noop_sweep", str(folder), str(count), str(release)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)


def attempts(trial):
    """What happened to a trial: `start`, and the exit status at its end."""
    file = trial / ATTEMPTS
    events = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    return [event.get("status", event["event"]) for event in events]


def all_attempts(folder):
    return [attempts(file.parent) for file in folder.glob(f"*/{ATTEMPTS}")]


def states(folder):
    with (folder / "results.csv").open() as file:
        return [row["status"] for row in csv.DictReader(file)]


def waiting(folder, count):
    return len(list(folder.glob("*/waits"))) == count


def test_eight_trials_with_one_preempted_and_one_node_drained(cluster, wait_for, tmp_path):
    """Meanwhile the controller is killed, and started again."""
    folder, release = tmp_path / "sweep", tmp_path / "release"
    first = controller(folder, 8, release)
    wait_for(lambda: waiting(folder, 8))
    first.kill()
    first.wait()
    assert len({task.id.partition("_")[0] for task in list_tasks()}) == 1  # a single array
    second = controller(folder, 8, release)
    cluster.set_node(NODES[1], "DRAIN")
    # Needs a core of the other node, all of which are in use.
    cluster.run("sbatch", "--partition=high", f"--nodelist={NODES[0]}", "--wrap=true", f"--output={tmp_path}/high.out")
    wait_for(lambda: ["start", 75] in all_attempts(folder))
    wait_for(lambda: ["start", 75, "start"] in all_attempts(folder), cluster.hasten)
    release.touch()
    assert second.wait(300) == 0
    cluster.set_node(NODES[1], "RESUME")
    assert sorted(all_attempts(folder), key=len) == [["start", 0]] * 7 + [["start", 75, "start", 0]]
    assert local_sweep.run(tmp_path / "local", 8, 4, 0.0) == 0
    assert (folder / "results.csv").read_bytes() == (tmp_path / "local" / "results.csv").read_bytes()


def test_a_signal_stops_the_arrays_and_the_same_command_continues(cluster, wait_for, tmp_path):
    """Twelve trials in arrays of at most five, eight of which fit on the nodes."""
    wait_for(cluster.is_empty)
    folder, release = tmp_path / "sweep", tmp_path / "release"
    process = controller(folder, 12, release)
    wait_for(lambda: waiting(folder, 8))
    process.send_signal(signal.SIGTERM)
    assert process.wait(300) == 75
    assert cluster.is_empty()  # those that have saved are not requeued
    assert sorted(states(folder)) == ["planned"] * 4 + ["stopped"] * 8
    release.touch()
    assert noop_sweep.run(folder, 12, release) == 0
    assert states(folder) == ["done"] * 12
    assert sorted(all_attempts(folder), key=len) == [["start", 0]] * 4 + [["start", 75, "start", 0]] * 8


def test_a_trial_that_saved_by_itself_is_requeued_alone(cluster, wait_for, tmp_path):
    """Of an array: the id of one task may also stand for all of them."""
    folder, release = tmp_path / "sweep", tmp_path / "release"
    process = controller(folder, 3, release)
    wait_for(lambda: waiting(folder, 3))
    ids = [task.id for task in list_tasks() if task.is_active and task.name.startswith("sweep-")]
    cluster.run("scancel", "--signal=USR2", ids[-1])  # the task that has the job id of the array
    wait_for(lambda: ["start", 75, "start"] in all_attempts(folder), cluster.hasten)
    release.touch()
    assert process.wait(300) == 0
    assert sorted(all_attempts(folder), key=len) == [["start", 0]] * 2 + [["start", 75, "start", 0]]


def test_a_submission_that_a_killed_controller_left_is_adopted_or_does_nothing(cluster, wait_for, tmp_path):
    release = tmp_path / "release"
    release.touch()
    jobs = {}
    for id in ("seen", "late"):
        (tmp_path / id).mkdir()
        command = [sys.executable, "-I", "-S", str(noop_sweep.PROGRAM), str(tmp_path / id), str(release)]
        jobs[id] = Job(id, tmp_path / id, tuple(command))
        (tmp_path / id / "trial_config.json").write_text('{"train.seed": 0, "optimizer.learning_rate": 1.0}')
    seen, late = (submission.write_submission(tmp_path, [job])[0] for job in jobs.values())

    def submit(entry, **options):
        script, output = submission.script_of(entry.folder), submission.output_of(entry.folder)
        submit_array(entry.folder.name, script, 1, output, noop_sweep.OPTIONS | options)

    submit(seen, begin="now+1hour")
    launcher = SlurmLauncher(tmp_path, noop_sweep.OPTIONS, poll_seconds=0.5)
    launcher.adopt(list(jobs.values()))
    assert launcher.active() == {"seen"}
    launcher.start(jobs["late"])
    assert launcher.active() == {"seen", "late"}
    submit(late)
    wait_for(lambda: launcher.active() == {"seen"})
    wait_for(lambda: late.output.is_file() and "not run" in late.output.read_text())
    assert attempts(tmp_path / "late") == ["start", 0]
    launcher.stop({"seen"})
    wait_for(lambda: not launcher.active())
    assert attempts(tmp_path / "seen") == []


def test_a_job_that_ends_before_its_trial_starts_has_failed(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    release = tmp_path / "release"
    assert noop_sweep.run(tmp_path / "sweep", 1, release, retries=1) == 1
    assert all_attempts(tmp_path / "sweep") == [["start", 1, "start", 1]]
    (log,) = tmp_path.glob("sweep/*/log.txt")
    assert "the job ended before the trial started; see " in log.read_text()
    output = Path(log.read_text().split()[-1])
    assert "/nonexistent/python" in output.read_text()
    assert read_history(log.parent).failures == 2


def test_a_refused_submission_is_a_line(cluster, tmp_path, capsys):
    arguments = [
        "--config=sweeps/lr_weight_decay",
        f"--out={tmp_path / 'out'}",
        "--launcher=slurm",
        "--partition=nosuch",
    ]
    assert main(["sweep", *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(r"svilm sweep: sbatch: .*[Ii]nvalid partition.* \(check --partition and the other .*\)", error)
    assert all_attempts(tmp_path / "out") == []
