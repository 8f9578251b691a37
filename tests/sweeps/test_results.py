"""Tests of the results of a sweep: the CSV file, the statistics over seeds, and the page."""

import csv
import json

import numpy as np
import pytest

from svilm_jax.sweeps.attempts import History, State
from svilm_jax.sweeps.page import write_page
from svilm_jax.sweeps.plan import make_trial
from svilm_jax.sweeps.plots import plot_losses, plot_parallel, read_curve
from svilm_jax.sweeps.progress import Counts, ProgressLine, duration
from svilm_jax.sweeps.results import Row, read_row, write_csv
from svilm_jax.sweeps.settings import bootstrap_interval, group_by_setting


def row(state=State.DONE, metrics=None, **changes):
    trial = make_trial({key.replace("_", "."): value for key, value in changes.items()}, {}, changes)
    return Row(trial, state, None, 10, metrics or {}, 5.0)


def test_the_csv_file_keeps_every_digit(tmp_path):
    exact = 0.1 + 0.2
    done = row(metrics={"a/b": exact}, train_seed=0, layers=(1, 2), name='say "x", y', flip=True)
    planned = row(State.PLANNED, train_seed=1, other=None)
    write_csv(tmp_path / "results.csv", [done, planned])
    with (tmp_path / "results.csv").open() as file:
        first, second = csv.DictReader(file)
    assert float(first["a/b"]) == exact
    assert (first["layers"], first["name"], first["flip"], first["status"]) == ("[1, 2]", 'say "x", y', "true", "done")
    assert (second["train.seed"], second["layers"], second["other"], second["a/b"]) == ("1", "", "null", "")


def test_a_row_reads_the_workdir_of_its_trial(tmp_path):
    trial = row().trial
    folder = tmp_path / trial.id
    folder.mkdir()
    assert read_row(tmp_path, trial, State.PLANNED, History(State.PLANNED)).steps is None
    (folder / "metrics.jsonl").write_text('{"step": 5, "loss/total": 1}\n{"step": 6, "loss/tot')
    assert read_row(tmp_path, trial, State.RUNNING, History(State.STOPPED, status=75)) == Row(
        trial, State.RUNNING, None, 5
    )
    (folder / "metrics.json").write_text('{"r/R1": 0.5, "train/steps": 9, "train/seconds": 3.1}')
    assert read_row(tmp_path, trial, State.RUNNING, History(State.STOPPED)).metrics == {}
    done = read_row(tmp_path, trial, State.DONE, History(State.DONE, status=0, seconds=2.0))
    assert (done.steps, done.metrics, done.seconds) == (9, {"r/R1": 0.5}, 2.0)


def test_seeds_are_averaged():
    rows = [row(metrics={"x": value}, train_seed=seed, rate=0.1) for seed, value in enumerate((1.0, 2.0, 6.0))]
    rows += [row(metrics={"x": 4.0}, train_seed=0, rate=0.2), row(State.FAILED, train_seed=1, rate=0.2)]
    first, second = group_by_setting(rows)
    assert (first.changes, len(first.rows)) == ({"rate": 0.1}, 3)
    assert first.metrics["x"].mean == 3.0
    assert first.metrics["x"].deviation == pytest.approx(7**0.5)  # (4 + 1 + 9) / 2
    assert str(first.metrics["x"]) == "3 ± 2.6"
    assert first.metrics["x"].interval == (1.0, 6.0)  # of three values, all are equal with a probability of 1/27
    assert (second.metrics["x"].interval, second.metrics["x"].deviation) == (None, None)
    assert (second.metrics["x"].count, str(second.metrics["x"])) == (1, "4")


def test_a_bootstrap_interval_of_many_values_is_that_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(size=400)
    low, high = bootstrap_interval(values.tolist())
    center, width = values.mean(), 1.96 * values.std() / 20
    assert low == pytest.approx(center - width, abs=0.01)
    assert high == pytest.approx(center + width, abs=0.01)
    assert bootstrap_interval(values.tolist()) == (low, high)


def test_curves_are_thinned_and_damaged_lines_left_out(tmp_path):
    file = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "loss/total": 1 / step}) for step in range(1, 2001)]
    lines[500] = '{"step"'
    lines[505] = '{"step": 506, "eval/x": 3}'
    file.write_text("\n".join(lines) + '\n{"step": 2001, "lo')
    points = read_curve(file)
    assert 390 <= len(points) <= 401
    assert points[0] == (1, 1.0)
    assert points[-1] == (2000, 1 / 2000)
    assert read_curve(tmp_path / "missing") == []


def test_the_page_shows_every_trial_and_needs_nothing_else(tmp_path):
    rows = [row(metrics={"r/R1": 0.25 * seed}, train_seed=seed, name="<script>") for seed in (1, 2)]
    rows.append(row(State.DIVERGED, train_seed=3, name="other"))
    for one, slope in zip(rows, (1, 2, 3), strict=True):
        (tmp_path / one.trial.id).mkdir()
        text = "".join(json.dumps({"step": s, "loss/total": 8 - slope * s}) + "\n" for s in range(3))
        (tmp_path / one.trial.id / "metrics.jsonl").write_text(text)
    write_page(tmp_path / "results.html", tmp_path, rows)
    page = (tmp_path / "results.html").read_text()
    assert all(one.trial.id in page for one in rows)
    assert "0.375 ± 0.18" in page
    assert page.count("<polyline") == 3
    assert "1 diverged, 2 done" in " ".join(page.split())
    assert "&lt;script&gt;" in page
    assert page.count("<script>") == 1
    assert not any(address in page for address in ("http://", "https://", "src="))
    plot = plot_losses(tmp_path, group_by_setting(rows))
    assert plot.lines[0][2] == "0.0,0.0 430.0,53.3 860.0,106.7"  # losses from 8 to 2, steps from 0 to 2
    assert plot.lines[2][2].endswith("860.0,320.0")


def test_parallel_coordinates_are_to_scale(tmp_path):
    rows = [
        row(metrics={"x": 1.0}, rate=1.0, layers=(3,), seed=0),
        row(metrics={"x": 3.0}, rate=2.0, layers=(1, 3), seed=0),
        row(metrics={"x": 2.0}, rate=5.0, layers=(3,), seed=0),
        row(State.FAILED, rate=9.0, layers=(9,), seed=0),
    ]
    plot = plot_parallel(group_by_setting(rows), ["rate", "layers"], "x")
    assert [axis.name for axis in plot.axes] == ["rate", "layers", "x"]
    assert [axis.x for axis in plot.axes] == [0, 430, 860]
    assert plot.axes[0].ticks == [(320, "1"), (240, "2"), (0, "5")]
    assert plot.axes[1].ticks == [(0, "[3]"), (320, "[1, 3]")]
    assert [points for _, _, points in plot.lines] == [
        "0.0,320.0 430.0,0.0 860.0,320.0",
        "0.0,240.0 430.0,320.0 860.0,0.0",
        "0.0,0.0 430.0,0.0 860.0,160.0",
    ]
    assert plot_parallel(group_by_setting(rows), ["rate"], "x") is None
    assert plot_parallel(group_by_setting(rows), ["rate", "layers"], "y") is None
    write_page(tmp_path / "results.html", tmp_path, rows)
    assert (tmp_path / "results.html").read_text().count("<polyline") == 3


def test_a_sweep_without_results_has_a_page(tmp_path):
    write_page(tmp_path / "results.html", tmp_path, [row(State.PLANNED, train_seed=0)])
    assert "<svg" not in (tmp_path / "results.html").read_text()


def test_the_progress_line_estimates_the_time_left(capsys, monkeypatch):
    clock = iter([0.0, 60.0])
    monkeypatch.setattr("svilm_jax.sweeps.progress.time.monotonic", lambda: next(clock))
    line = ProgressLine()
    line(Counts(12, 3, 2, 7, 0, 0))
    line(Counts(12, 3, 2, 7, 0, 0))
    line(Counts(12, 4, 2, 5, 1, 0))  # two trials in a minute, seven to go
    assert capsys.readouterr().err.splitlines() == [
        "sweep: 3/12 done, 2 running",
        "sweep: 4/12 done, 2 running, 1 failed, about 4 min left",
    ]
    assert [duration(seconds) for seconds in (40, 720, 12_600)] == ["40 s", "12 min", "3.5 h"]
