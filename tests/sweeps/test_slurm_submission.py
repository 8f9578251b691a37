"""Tests of what is written for a job array, and of the claims by which a trial runs once; SLURM is not needed."""

import os
import subprocess
import sys

import pytest

from svilm_jax.config import ConfigError
from svilm_jax.sweeps.launchers.launcher import Job
from svilm_jax.sweeps.launchers.slurm import SlurmLauncher, submission, task
from svilm_jax.sweeps.launchers.slurm.submission import VOID, read_submissions, write_submission


def jobs(folder, *ids):
    for id in ids:
        (folder / id).mkdir(exist_ok=True)
    return [Job(id, folder / id, (sys.executable, "-c", "print('trained')")) for id in ids]


def run_task(entry, process="0"):
    """What srun does in a task of the array 7."""
    told = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(entry.index), "SLURM_PROCID": process}
    command = [sys.executable, "-I", "-S", task.__file__, "run", str(entry.folder)]
    return subprocess.run(command, env={**os.environ, **told}, capture_output=True, text=True, check=True).stdout


def test_a_task_runs_the_trial_of_its_index_and_runs_it_again_after_a_requeue(tmp_path):
    _, entry = write_submission(tmp_path, jobs(tmp_path, "a", "b"))
    for times in (1, 2):
        run_task(entry)
        assert entry.holder() == "7_1"
        assert (tmp_path / "b" / "log.txt").read_text() == "trained\n" * times
        assert (tmp_path / "b" / "attempts.jsonl").read_text().count('"status": 0') == times
    assert not (tmp_path / "a" / "log.txt").exists()


def test_further_tasks_of_a_trial_record_no_attempts(tmp_path):
    (entry,) = write_submission(tmp_path, jobs(tmp_path, "a"))
    run_task(entry)
    run_task(entry, process="1")
    assert (tmp_path / "a" / "log.txt").read_text() == "trained\n" * 2
    assert (tmp_path / "a" / "attempts.jsonl").read_text().count('"start"') == 1


@pytest.mark.parametrize("started", [False, True])
def test_a_void_claim_prevents_a_start(tmp_path, started):
    (entry,) = write_submission(tmp_path, jobs(tmp_path, "a"))
    if started:
        run_task(entry)
    entry.void()
    assert "task 7_0: not run" in run_task(entry)
    assert entry.holder() == VOID
    entry.void()
    assert (tmp_path / "a" / "attempts.jsonl").exists() == started


def test_submissions_are_found_again_and_incomplete_ones_are_not(tmp_path):
    first = write_submission(tmp_path, jobs(tmp_path, "a", "b"))
    second = write_submission(tmp_path, jobs(tmp_path, "b", "c"))
    (tmp_path / submission.FOLDER / ".killed.tmp").mkdir()
    (tmp_path / submission.FOLDER / "empty").mkdir()
    known = {job.id: job for job in jobs(tmp_path, "a", "b")}
    assert read_submissions(tmp_path, known) == [*first, second[0]]
    assert read_submissions(tmp_path / "a", known) == []


def test_the_name_of_a_job_is_one_that_squeue_takes_in_a_list(tmp_path):
    folder = tmp_path / "lr, wd ü"
    folder.mkdir()
    (entry,) = write_submission(folder, jobs(tmp_path, "a"))
    assert entry.folder.name.startswith("lr__wd__-")


def test_options_of_the_launcher_itself_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="--slurm array: set by the launcher itself"):
        SlurmLauncher(tmp_path, {"array": "0-3"})
