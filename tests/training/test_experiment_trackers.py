"""Tests of the trackers with real ones: runs that are stopped and resumed, offline, and servers that do not answer."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from svilm_jax.filesystem.log_lines import read_lines
from svilm_jax.main import main

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
STEPS = 6
# The log of LevelDB: a header of the file, then records in blocks, of which a long one is split.
_HEADER, _BLOCK, _FRAME = 7, 32_768, 7
_WHOLE, _LAST = 1, 4


def wandb_records(file):
    """The records of a .wandb file. wandb has no reader of its own for Python since version 0.30."""
    from wandb.proto.wandb_internal_pb2 import Record

    data = file.read_bytes()
    assert data.startswith(b":W&B")
    position, parts = _HEADER, b""
    while position + _FRAME <= len(data):
        if (left := _BLOCK - position % _BLOCK) < _FRAME:
            position += left
            continue
        size, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        position += _FRAME
        parts += data[position : position + size]
        position += size
        if kind in (_WHOLE, _LAST):
            yield Record.FromString(parts)
            parts = b""


def wandb_attempt(file):
    """The run of a .wandb file, and its rows: step -> name -> value."""
    run, rows = None, {}
    for record in wandb_records(file):
        if record.HasField("run"):
            run = record.run
        if record.HasField("history"):
            values = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
            rows.setdefault(values["_step"], {}).update(values)
    return run, rows


def environment(folder, **more):
    """With everything that a tracker writes in a folder, and no account."""
    own = {"HOME": folder, "TRACKIO_DIR": folder / "trackio", "WANDB_CONFIG_DIR": folder, "WANDB_CACHE_DIR": folder}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "TRACKIO_"))}
    # Few steps of a small model: the compiler's optimizations would take longer than they save.
    told = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}
    told |= {"WANDB_ERROR_REPORTING": "false", "HF_HUB_OFFLINE": "1"}
    return {**kept, **told, **{name: str(value) for name, value in own.items()}, **more}


def train(dataset, workdir, env, *more, program=("svilm_jax.main",)):
    command = [sys.executable, "-m", *program, "train", f"--workdir={workdir}"]
    command += [f"--config=tests/tiny.py:dataset={dataset}", f"--config.train.steps={STEPS}"]
    command += ["--config.train.writers=jsonl,wandb,trackio", "--config.train.tracking.project=watched", *more]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def status(workdir, capsys):
    assert main(["status", str(workdir), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_that_is_stopped_and_resumed_is_one_run(moving_shapes, tmp_path, capsys):
    pytest.importorskip("wandb")
    pytest.importorskip("trackio")
    workdir, env = tmp_path / "run", environment(tmp_path)
    options = ["--config.train.tracking.mode=offline", "--config.train.profile=2,5"]
    options += ["--config.evaluators.retrieval.split=test"]
    stop = ("tests.training.stopped_at_step", "3", "SIGTERM")
    done = train(moving_shapes, workdir, env, *options, program=stop)
    assert done.returncode == 75, done.stderr[-3000:]
    assert "writer" not in done.stderr, done.stderr[-3000:]
    first = status(workdir, capsys)
    assert (first["state"], first["total_steps"]) == ("stopped", STEPS)
    done = train(moving_shapes, workdir, env, *options)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "writer" not in done.stderr, done.stderr[-3000:]
    assert status(workdir, capsys)["state"] == "finished"

    logged = {line["step"]: line["loss/total"] for line in read_lines(workdir / "metrics.jsonl")}
    metrics = json.loads((workdir / "metrics.json").read_text())
    assert list(logged) == list(range(1, STEPS + 1))

    files = sorted((workdir / "wandb").glob("offline-run-*/*.wandb"))
    attempts = [wandb_attempt(file) for file in files]
    assert [(run.project, run.display_name) for run, _ in attempts] == [("watched", "run")] * 2
    assert {run.run_id for run, _ in attempts} == {json.loads((workdir / "tracked_run.json").read_text())["id"]}
    rows = [{step: row for step, row in found.items() if "loss/total" in row} for _, found in attempts]
    assert {step: row["loss/total"] for found in rows for step, row in found.items()} == logged
    assert len(set(rows[0]) & set(rows[1])) <= 1  # at most the last one again
    final = attempts[1][1][STEPS]
    assert {name: final[name] for name in metrics if name.startswith("retrieval")} == {
        name: value for name, value in metrics.items() if name.startswith("retrieval")
    }
    configs = [json.loads(u.value_json) for u in attempts[0][0].config.update if u.key == "train"]
    assert configs[0]["steps"] == STEPS

    with sqlite3.connect(tmp_path / "trackio" / "watched.db") as database:
        found = list(database.execute("SELECT run_name, step, metrics FROM metrics ORDER BY id"))
    assert len({name for name, _, _ in found}) == 1
    parsed = [(step, json.loads(values)) for _, step, values in found]
    assert {step: values["loss/total"] for step, values in parsed if "loss/total" in values} == logged
    assert any("retrieval/t2v_R1" in values for _, values in parsed)

    traces = [file.parent.name for file in (workdir / "profile" / "plugins" / "profile").rglob("*.xplane.pb")]
    stopped = first["step"]
    assert sorted(traces) == [f"steps_2_{stopped}", f"steps_{stopped + 1}_5"]


def test_servers_that_do_not_answer_do_not_end_a_training(moving_shapes, tmp_path):
    pytest.importorskip("wandb")
    pytest.importorskip("trackio")
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        told = {"WANDB_BASE_URL": url, "WANDB_API_KEY": "0" * 40, "WANDB_INIT_TIMEOUT": "3"}
        env = environment(tmp_path, **told, TRACKIO_SERVER_URL=url, TRACKIO_WRITE_TOKEN="none")
        done = train(moving_shapes, tmp_path / "run", env)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("writer wandb: ") <= 2  # the reason, and how often
    assert "Training goes on" in done.stderr
    assert len(read_lines(tmp_path / "run" / "metrics.jsonl")) == STEPS


def test_a_terminal_is_not_asked_for_a_key(tmp_path):
    """Without an account, the writer fails instead of waiting for somebody to type."""
    pytest.importorskip("wandb")
    code = (
        "import sys; from pathlib import Path; from svilm_jax.config import resolve; "
        "from svilm_jax.training.metric_writers import open_writers; "
        "writers = open_writers(resolve({'train': {'writers': ('wandb',)}}), Path(sys.argv[1]), 0); "
        "writers.write_scalars(1, {'a': 1.0}); writers.close()"
    )
    main_end, end = os.openpty()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment(tmp_path), stdin=end, stdout=end, stderr=end
    )
    os.close(end)
    shown = os.read(main_end, 1 << 16).decode()
    os.close(main_end)
    assert done.returncode == 0
    assert "writer wandb: " in shown
    assert "login" in shown
