"""Tests of the tables of sweeps in the documentation."""

import json
import sys

import pytest

from experiments import sweep_table
from svilm_jax.sweeps.attempts import State
from svilm_jax.sweeps.plan import make_trial
from svilm_jax.sweeps.results import Row, write_csv


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "sweep"
    rows = []
    for weight in (0.0, 2.0):
        for seed in range(2):
            changes = {"objectives.x.weight": weight, "train.seed": seed}
            trial = make_trial(changes, {}, changes)
            (folder / trial.id).mkdir(parents=True)
            (folder / trial.id / "environment.json").write_text('{"jax": "1.2"}')
            state = State.FAILED if weight and seed else State.DONE
            rows.append(Row(trial, state, 0, 3, {"a/R1": 0.5 + weight + seed, "b": 1.0} if state is State.DONE else {}))
    write_csv(folder / "results.csv", rows)
    return folder


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["sweep_table", *map(str, arguments)])
    sweep_table.main()


def test_settings_are_averaged_over_their_seeds(sweep, tmp_path, monkeypatch):
    out = tmp_path / "kept"
    run(monkeypatch, sweep, "--out", out, "--command", "svilm sweep X", "--metrics", "a/R1")
    assert (out / "summary.md").read_text().splitlines() == [
        "| metric | objectives.x.weight=0.0 (n=2) | objectives.x.weight=2.0 (n=1) |",
        "|---|---|---|",
        "| a/R1 | 1.0000 ± 0.7071 | 2.5000 |",
    ]
    assert (out / "results.csv").read_bytes() == (sweep / "results.csv").read_bytes()
    assert json.loads((out / "environment.json").read_text()) == {"jax": "1.2", "command": "svilm sweep X"}


def test_an_unknown_metric_is_refused(sweep, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="has no a/R5; it has a/R1"):
        run(monkeypatch, sweep, "--out", tmp_path / "kept", "--command", "x", "--metrics", "a/R5")
    assert not (tmp_path / "kept").exists()
