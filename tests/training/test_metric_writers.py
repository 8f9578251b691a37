"""Tests of the metric writers: what each writes, and that none of them stops or delays a training."""

import json
import logging
import threading

import pytest
from tensorboardX.proto.event_pb2 import Event

from svilm_jax.config import ConfigError, resolve
from svilm_jax.filesystem.log_lines import read_lines
from svilm_jax.training import experiment_trackers, metric_writers
from svilm_jax.training.contained_writers import BackgroundWriter, ContainedWriter, Failures
from svilm_jax.training.experiment_trackers import tracked_run
from svilm_jax.training.metric_writers import MetricWriters, check_writers, open_writers

LIMIT = 120  # seconds for what takes milliseconds


def config(*writers, **changes):
    return resolve({"train": {"writers": writers, **changes}})


def points(workdir):
    """(step, name, value) of the scalars in the event files of TensorBoard, which are length-prefixed records."""
    found = []
    for file in sorted((workdir / "tensorboard").iterdir()):
        data = file.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + size])
            found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
            data = data[16 + size :]
    return found


def test_the_config_selects_the_writers(tmp_path, capsys):
    for names in (("jsonl",), ("tensorboard",), ("console",), ()):
        workdir = tmp_path / ("".join(names) or "none")
        writers = open_writers(config(*names), workdir, 0, ("loss/total",))
        writers.write_scalars(1, {"loss/total": 0.5, "rate": 2.0})
        writers.close()
        assert (workdir / "metrics.jsonl").exists() == ("jsonl" in names)
        assert (workdir / "tensorboard").exists() == ("tensorboard" in names)
        assert ("total 0.5" in capsys.readouterr().out) == ("console" in names)


def test_lines_and_points_hold_the_metrics(tmp_path):
    writers = open_writers(config("jsonl", "tensorboard"), tmp_path, 0)
    writers.write_scalars(1, {"loss": 0.5, "rate": 2.0})
    writers.write_final(2, {"accuracy": 0.25})
    writers.close()
    assert points(tmp_path) == [(1, "loss", 0.5), (1, "rate", 2.0), (2, "accuracy", 0.25)]
    (line,) = read_lines(tmp_path / "metrics.jsonl")  # the final metrics are in metrics.json
    assert (line["step"], line["loss"], line["rate"]) == (1, 0.5, 2.0)


def test_the_log_of_a_resumed_run_has_no_line_twice(tmp_path):
    writers = open_writers(config("jsonl"), tmp_path, 0)
    for step in (1, 2, 3):
        writers.write_scalars(step, {"loss": float(step)})
    writers.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # killed in the middle of a line
    writers = open_writers(config("jsonl"), tmp_path, 2)
    writers.write_scalars(3, {"loss": 30.0})
    writers.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 1), (2, 2), (3, 30)]


class Broken:
    """A writer whose server does not answer."""

    def write_scalars(self, step, scalars):
        raise ConnectionError("no answer\nfrom the server")

    def flush(self):
        pass

    def close(self):
        raise ConnectionError("no answer")


def test_a_writer_that_fails_is_reported_once_and_counted(caplog):
    writers = MetricWriters({"broken": ContainedWriter(Broken, Failures("broken"))})
    with caplog.at_level(logging.WARNING):
        writers.write_scalars(1, {})
        writers.write_scalars(2, {})
        assert len(caplog.messages) == 1
        assert "writer broken: no answer from the server" in caplog.messages[0]
        writers.close()
    assert caplog.messages[1:] == ["writer broken: 3 failures"]


def test_a_writer_that_cannot_be_opened_does_not_disturb_the_others(tmp_path, caplog):
    (tmp_path / "metrics.jsonl").mkdir()  # so that it cannot be opened
    writers = open_writers(config("jsonl", "tensorboard"), tmp_path, 0)
    writers.write_scalars(1, {"loss": 0.5})
    writers.close()
    assert points(tmp_path) == [(1, "loss", 0.5)]
    assert [message.partition(".")[0] for message in caplog.messages][0].startswith("writer jsonl: ")


class Slow:
    """A writer that waits until it is released."""

    def __init__(self, release, written):
        release.wait(LIMIT)
        self.written = written

    def write_scalars(self, step, scalars):
        self.written.append((step, scalars))

    def flush(self):
        pass

    def close(self):
        self.written.append("closed")


def test_training_does_not_wait_for_a_slow_writer():
    release, written = threading.Event(), []
    writer = BackgroundWriter(lambda: Slow(release, written), Failures("slow"))
    for step in range(100):
        writer.write_scalars(step, {"loss": 1.0})
    writer.close(0.01)
    assert writer.failures.count == 1  # not finished, but the training is
    assert written == []
    release.set()
    writer._thread.join(LIMIT)
    assert [entry[0] for entry in written[:-1]] == list(range(100))
    assert written[-1] == "closed"


def test_the_end_waits_until_everything_is_written():
    written = []
    release = threading.Event()
    release.set()
    writer = BackgroundWriter(lambda: Slow(release, written), Failures("slow"))
    writer.write_scalars(1, {})
    writer.close(LIMIT)
    assert written == [(1, {}), "closed"]
    assert writer.failures.count == 0


def test_a_tracker_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setattr(metric_writers.importlib.util, "find_spec", lambda name: None)
    check_writers(config("console", "jsonl", "tensorboard"))
    with pytest.raises(ConfigError, match=r"config.train.writers: wandb .* pip install 'svilm_jax\[wandb\]'"):
        check_writers(config("jsonl", "wandb"))


def test_unknown_writers_are_refused():
    with pytest.raises(ConfigError, match=r"config.train.writers\[1\]='wandbb': expected one of .*'wandb'"):
        config("jsonl", "wandbb")


def test_a_run_keeps_its_id_over_interruptions(tmp_path):
    first = tracked_run(config("wandb"), tmp_path, 0, 0)
    assert (first.name, first.logged) == (tmp_path.name, 0)
    resumed = tracked_run(config("wandb", steps=20), tmp_path, 5, 8)  # more steps are the same run
    assert (resumed.id, resumed.logged) == (first.id, 8)
    again = tracked_run(config("wandb", steps=20), tmp_path, 0, 3)  # killed before the first checkpoint
    assert (again.id, again.logged) == (first.id, 3)
    anew = tracked_run(config("wandb", seed=1), tmp_path, 0, 3)
    assert anew.id != first.id
    assert anew.logged == 0


def test_a_damaged_id_file_starts_a_new_run(tmp_path):
    (tmp_path / experiment_trackers.FILE).write_text('{"id": ')
    assert len(tracked_run(config("wandb"), tmp_path, 5, 8).id) == 8
