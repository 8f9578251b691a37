"""Tests of `svilm status`: which runs it finds, its table, its exit status, and that it needs no JAX."""

import json
import os
import signal
import subprocess
import sys

import pytest

from svilm_jax.main import main
from svilm_jax.sweeps.plan import Trial, write_plan
from svilm_jax.training.run_record import recorded_run


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A finished run, an empty folder, a folder of records, and a sweep with a planned trial and a pruned one."""
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "empty", "data", "sweep"):
        (tmp_path / name).mkdir()
    with recorded_run(tmp_path / "demo") as record:
        record.start(0, 20)
    (tmp_path / "demo" / "metrics.jsonl").write_text('{"step": 20, "time": 1, "loss/total": 0.25}\n')
    metrics = {"retrieval/t2v_R1_chance": 0.1, "retrieval/t2v_R1": 0.5, "train/steps": 20}
    (tmp_path / "demo" / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "data" / "records").write_text("")
    trials = [Trial(f"trial{seed}", {"train.seed": seed}, {"train": {"steps": 7}}) for seed in range(2)]
    write_plan(tmp_path / "sweep", trials)
    (tmp_path / "sweep" / "results.csv").write_text("trial,status\ntrial0,planned\ntrial1,pruned\n")
    return tmp_path


def cells(text):
    return [line.split() for line in text.splitlines()]


def test_the_table(runs, capsys):
    assert main(["status", "demo", "sweep"]) == 0
    header, demo, planned, pruned = cells(capsys.readouterr().out)
    assert header == ["run", "state", "step", "loss", "evaluation", "last", "line"]
    assert demo[:6] == ["demo", "finished", "20/20", "0.25", "retrieval/t2v_R1", "0.5"]
    assert planned == ["sweep/trial0", "planned", "train.seed=0"]
    assert pruned == ["sweep/trial1", "pruned", "train.seed=1"]


def test_another_metric(runs, capsys):
    assert main(["status", "demo", "--metric=retrieval/t2v_R1_chance"]) == 0
    assert "retrieval/t2v_R1_chance 0.1" in capsys.readouterr().out


def test_a_pattern_leaves_out_what_is_no_run(runs, capsys):
    assert main(["status", "*", "demo"]) == 0  # each once
    assert [line[0] for line in cells(capsys.readouterr().out)] == ["run", "demo", "sweep/trial0", "sweep/trial1"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("empty", "empty: empty"),
        ("data", "data: neither a workdir of `svilm train` nor an --out of `svilm sweep`"),
        ("nothing", "nothing: no such folder"),
        ("demo/run.json", "demo/run.json: a file, expected a folder"),
        ("nothing*", "nothing*: matches no workdir"),
        ("gs://b/run", "WORKDIR=gs://b/run: gs:// is not supported"),
    ],
)
def test_a_wrong_folder_has_a_line_of_its_own(runs, capsys, argument, message):
    """The others are reported nevertheless."""
    assert main(["status", argument, "demo"]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"svilm status: {message}")
    assert len(printed.err.splitlines()) == 1
    assert "finished" in printed.out


def test_json(runs, capsys):
    assert main(["status", "demo", "sweep", "--json"]) == 0
    demo, planned, _ = map(json.loads, capsys.readouterr().out.splitlines())
    assert (demo["workdir"], demo["state"], demo["step"], demo["evaluation_step"]) == ("demo", "finished", 20, 20)
    assert demo["evaluation"] == {"retrieval/t2v_R1_chance": 0.1, "retrieval/t2v_R1": 0.5}
    assert planned["changes"] == {"train.seed": 0}


def test_watching_ends_with_ctrl_c_and_imports_no_jax(runs):
    code = (
        "import sys; from svilm_jax.main import main; status = main(['status', 'demo', '--watch', '0.1']); "
        "print(sorted({'jax', 'flax', 'tensorflow', 'tensorboardX', 'numpy'} & sys.modules.keys())); sys.exit(status)"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": ""}) as process:
        seen = [process.stdout.readline() for _ in range(6)]  # three tables
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert [line.split()[0] for line in seen] == ["run", "demo"] * 3
    assert rest.splitlines()[-1] == "[]"
    assert process.returncode == 0


def test_watch_takes_a_number_of_seconds(runs, capsys):
    assert main(["status", "demo", "--watch", "0"]) == 2
    assert "--watch=0.0: expected a number of at least 0.1" in capsys.readouterr().err
