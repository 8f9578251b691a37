"""Tests of the status of a run, from files as the writers and recorders of a training write them."""

import json
import time

import pytest

from svilm_jax.config import resolve
from svilm_jax.filesystem.locks import locked
from svilm_jax.monitoring import run_status
from svilm_jax.monitoring.run_status import read_status
from svilm_jax.sweeps import supervisor
from svilm_jax.training import metric_writers
from svilm_jax.training.loop import NonFiniteError
from svilm_jax.training.metric_writers import open_writers
from svilm_jax.training.preemption import Stopped
from svilm_jax.training.run_record import recorded_run


class Clock:
    """Time that the test sets, in seconds since 1970."""

    def __init__(self):
        self.now = 1e9

    def time(self):
        return self.now

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (run_status, metric_writers):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr("svilm_jax.training.run_record.time", clock)
    return clock


def write(workdir, clock, steps, every=1.0, start=0, **more):
    """Logs training lines as the loop does, `every` seconds one."""
    writers = open_writers(resolve({"train": {"writers": ("jsonl",)}}), workdir, start)
    for step in steps:
        clock.now += every
        writers.write_scalars(step, {"loss/total": 10.0 - step, "clips_per_second": 64.0, **more})
    return writers


def run(workdir, clock, error=None, total=40):
    """A run of ten steps that then ends."""
    with recorded_run(workdir) as record:
        record.start(0, total)
        write(workdir, clock, range(1, 11)).close()
        if error:
            raise error


def test_a_run_that_is_alive(tmp_path, clock):
    with locked(tmp_path / ".lock", "x"), recorded_run(tmp_path) as record:
        assert read_status(tmp_path).state == "starting"
        record.start(0, 40)
        writers = write(tmp_path, clock, range(1, 11), every=2.0)
        writers.write_scalars(10, {"retrieval/t2v_R1": 0.5})
        (tmp_path / "checkpoints" / "8").mkdir(parents=True)
        (tmp_path / "checkpoints" / "10.orbax-checkpoint-tmp-1").mkdir()  # being written
        clock.now += 5.0
        status = read_status(tmp_path)
    assert (status.state, status.step, status.total_steps) == ("running", 10, 40)
    assert status.steps_per_second == pytest.approx(0.5)
    assert status.clips_per_second == 64.0
    assert status.seconds_left == pytest.approx(30 / 0.5 - 5)
    assert status.log_age == pytest.approx(5)
    assert (status.loss, status.evaluation, status.evaluation_step) == (0.0, {"retrieval/t2v_R1": 0.5}, 10)
    assert status.checkpoint_step == 8
    assert status.process["pid"] > 0
    assert status.message == ""


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Stopped("stopped by SIGTERM at step 10"), "stopped"),
        (NonFiniteError("step 10: the loss\nis not finite"), "diverged"),
        (RuntimeError("out of memory"), "failed"),
    ],
)
def test_a_run_that_ended_early(tmp_path, clock, error, state):
    with pytest.raises(type(error)):
        run(tmp_path, clock, error)
    status = read_status(tmp_path)
    assert (status.state, status.step, status.total_steps, status.seconds_left) == (state, 10, 40, None)
    assert status.message == " ".join(str(error).split())
    assert status.steps_per_second is None


def test_a_run_that_was_killed(tmp_path, clock):
    with recorded_run(tmp_path) as record:
        record.start(0, 40)
        kept = (tmp_path / "run.json").read_text()
    (tmp_path / "run.json").write_text(kept)  # as SIGKILL leaves it
    (tmp_path / ".lock").write_text('{"pid": 1}')
    assert read_status(tmp_path).state == "killed"
    with locked(tmp_path / ".lock", "x"):
        assert read_status(tmp_path).state == "running"


def test_a_run_that_finished(tmp_path, clock):
    run(tmp_path, clock)
    (tmp_path / "metrics.json").write_text(json.dumps({"a": 0.5, "train/steps": 10, "train/seconds": 3.0}))
    status = read_status(tmp_path)
    assert (status.state, status.step, status.total_steps, status.evaluation) == ("finished", 10, 10, {"a": 0.5})


def test_a_later_attempt_that_is_refused_leaves_the_record(tmp_path, clock):
    with pytest.raises(Stopped):
        run(tmp_path, clock, Stopped("stopped"))
    with pytest.raises(ValueError, match="refused"), recorded_run(tmp_path):
        raise ValueError("refused before the start")
    assert read_status(tmp_path).state == "stopped"


def test_only_the_latest_attempt_counts_for_the_rate(tmp_path, clock):
    write(tmp_path, clock, range(1, 11), every=100.0).close()
    clock.now += 1e6
    with locked(tmp_path / ".lock", "x"), recorded_run(tmp_path) as record:
        record.start(8, 20)
        assert read_status(tmp_path).steps_per_second is None
        write(tmp_path, clock, range(9, 12), every=0.5, start=8).close()
        status = read_status(tmp_path)
    assert (status.step, status.steps_per_second) == (11, pytest.approx(2.0))


def test_a_resumed_run_is_at_least_at_its_first_step(tmp_path, clock):
    """Its checkpoint may be later than the last line of the log."""
    with locked(tmp_path / ".lock", "x"), recorded_run(tmp_path) as record:
        record.start(100, 200)
        assert read_status(tmp_path).step == 100


def test_half_a_line_and_lines_of_others_are_skipped(tmp_path, clock):
    write(tmp_path, clock, range(1, 4)).close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('[1]\n{"step": "x", "time": 1}\n{"step": 4, "loss/tot')
    assert (read_status(tmp_path).step, read_status(tmp_path).loss) == (3, 7.0)


def test_an_evaluation_far_back_is_found(tmp_path, clock):
    (tmp_path / "config.json").write_text(json.dumps({"train": {"steps": 9000, "eval_every": 2000}}))
    writers = write(tmp_path, clock, [2000])
    writers.write_scalars(2000, {"retrieval/t2v_R1": 0.25})
    writers.close()
    write(tmp_path, clock, range(2001, 3900), start=2000, filler=1.0).close()
    assert (tmp_path / "metrics.jsonl").stat().st_size > 1 << 17  # more than one piece is read
    status = read_status(tmp_path)
    assert (status.evaluation, status.evaluation_step, status.total_steps) == ({"retrieval/t2v_R1": 0.25}, 2000, 9000)


def test_a_run_without_a_log(tmp_path):
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    status = read_status(tmp_path)
    assert (status.state, status.step, status.checkpoint_step) == ("ended", None, 3)


def test_trials_have_the_state_that_their_supervisor_recorded(tmp_path):
    def trial(name, *events):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "trial_config.json").write_text('{"train": {"steps": 7}}')
        for event in events:
            supervisor.append(str(folder / "attempts.jsonl"), {"time": time.time(), **event})
        return read_status(folder)

    start = {"event": "start", "pid": 1, "devices": ""}
    assert (trial("planned").state, read_status(tmp_path / "planned").total_steps) == ("planned", 7)
    assert trial("refused", start, {"event": "end", "status": 2, "stopped": False}).state == "refused"
    assert trial("failed", start, {"event": "end", "status": -9, "stopped": False}).state == "failed"
    assert trial("stopped", start, {"event": "end", "status": 75, "stopped": True}).state == "stopped"
    assert read_status(tmp_path / "stopped", pruned=True).state == "pruned"
    with locked(tmp_path / "planned" / "trial.lock", "x"):  # its process starts
        assert read_status(tmp_path / "planned").state == "starting"
