"""Tests of the search with Optuna: real processes, trials that train nothing, and controllers that are killed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.environment("search")
optuna = pytest.importorskip("optuna", reason="no optuna here: make test-search")

from svilm_jax.config import ConfigError  # noqa: E402
from svilm_jax.sweeps.attempts import State, read_history  # noqa: E402
from svilm_jax.sweeps.controller import Sweep, held_folder, run_sweep  # noqa: E402
from svilm_jax.sweeps.launchers.local import LocalLauncher  # noqa: E402
from svilm_jax.sweeps.plan import extended, make_trial, read_plan, write_plan  # noqa: E402
from svilm_jax.sweeps.search import Options, OptunaSearch  # noqa: E402

ROOT = Path(__file__).parents[2]
# Writes the metrics of a trial: `x` of its config plus a hundredth of its seed; ends with `status` if it has one.
PROGRAM = """
import json, os, signal, sys, time
folder = sys.argv[1]
signal.signal(signal.SIGTERM, lambda *_: os._exit(75))
config = json.load(open(folder + "/trial_config.json"))
time.sleep(config.get("seconds", 0))
with open(folder + "/metrics.jsonl", "w") as file:
    for step in range(3):
        file.write(json.dumps({"step": step, "score": config["x"]}) + "\\n")
if config.get("hangs"):
    file.close()
    time.sleep(60)
if config.get("status"):
    sys.exit(config["status"])
metrics = {"score": config["x"] + config.get("train.seed", 0) / 100}
if config.get("is_error"):
    record = {"name": "score", "value": metrics["score"], "unit": "fraction", "higher_is_better": False}
    metrics["records"] = [record]
json.dump(metrics, open(folder + "/metrics.json", "w"))
"""


def command(trial, folder):
    return [sys.executable, "-I", "-S", "-c", PROGRAM, str(folder)]


def make(changes):
    return make_trial(changes, changes, changes)


def run(folder, suggest, options, jobs=1, **parts):
    """Runs a search; returns its status and its study."""
    with held_folder(folder):
        search = OptunaSearch(folder, suggest, make, options, **parts)
        plan = extended(read_plan(folder), search.planned())
        write_plan(folder, plan)
        status = run_sweep(
            Sweep(folder, plan, frozenset(), command, options.retries), LocalLauncher(jobs), search=search
        )
    return status, search.study


def states(study):
    return [trial.state.name for trial in study.trials]


def test_the_study_learns_the_value_of_every_trial(tmp_path):
    status, study = run(tmp_path, lambda trial: {"x": trial.suggest_float("x", 0, 1)}, Options(8, "score"), jobs=2)
    assert status == 0
    assert states(study) == ["COMPLETE"] * 8
    assert all(trial.value == trial.params["x"] for trial in study.trials)
    assert len(read_plan(tmp_path)) == 8
    # The same command has nothing left to do; a larger number continues.
    assert len(run(tmp_path, lambda trial: {"x": trial.suggest_float("x", 0, 1)}, Options(8, "score"))[1].trials) == 8
    _, study = run(tmp_path, lambda trial: {"x": trial.suggest_float("x", 0, 1)}, Options(10, "score"))
    assert states(study) == ["COMPLETE"] * 10
    assert len({trial.value for trial in study.trials}) == 10


def test_a_repeated_suggestion_is_not_run_again(tmp_path):
    _, study = run(tmp_path, lambda trial: {"x": trial.suggest_int("x", 1, 1)}, Options(3, "score"))
    assert [trial.value for trial in study.trials] == [1.0] * 3
    assert len(read_plan(tmp_path)) == 1


def test_failed_and_diverged_trials_are_reported_as_such(tmp_path):
    def suggest(trial):
        return {"x": trial.number, "status": (0, 1, 65)[trial.number]}

    status, study = run(tmp_path, suggest, Options(3, "score", retries=0))
    assert status == 1
    assert states(study) == ["COMPLETE", "FAIL", "FAIL"]
    assert [trial.user_attrs.get("state") for trial in study.trials] == [None, "failed", "diverged"]


def test_a_trial_is_the_mean_of_its_seeds_and_given_up_between_them(tmp_path):
    def suggest(trial):
        return {"x": (5, 6, 1)[trial.number]}

    pruner = optuna.pruners.MedianPruner(n_startup_trials=2)
    _, study = run(tmp_path, suggest, Options(3, "score", seeds=3), pruner=pruner)
    assert states(study) == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert [round(trial.value, 6) for trial in study.trials[:2]] == [5.01, 6.01]
    rows = (tmp_path / "results.csv").read_text()
    assert [line.split(",")[3] for line in rows.splitlines()[1:]] == ["done"] * 7 + ["pruned"] * 2


def test_a_training_that_falls_behind_is_stopped(tmp_path):
    def suggest(trial):
        return {"x": (5, 6, 1)[trial.number], "hangs": trial.number == 2}

    pruner = optuna.pruners.ThresholdPruner(lower=2)
    started = time.monotonic()
    status, study = run(tmp_path, suggest, Options(3, "score"), pruner=pruner)
    assert status == 0
    assert time.monotonic() - started < 30
    assert states(study) == ["COMPLETE", "COMPLETE", "PRUNED"]
    last = read_plan(tmp_path)[-1].id
    assert read_history(tmp_path / last).state is State.STOPPED
    assert "pruned" in (tmp_path / "results.csv").read_text().splitlines()[-1]
    # It is not run again.
    assert states(run(tmp_path, suggest, Options(3, "score"), pruner=pruner)[1])[-1] == "PRUNED"


def test_a_killed_controller_loses_no_trial(tmp_path):
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-m", "tests.sweeps.test_search", str(tmp_path)], cwd=ROOT)
        time.sleep(2.0)
        process.send_signal(signal.SIGKILL)
        process.wait()
    status, study = run(tmp_path, slow, Options(8, "score"), jobs=2)
    assert status == 0
    suggested = [trial for trial in study.trials if "changes" in trial.user_attrs]
    assert [trial.state.name for trial in suggested] == ["COMPLETE"] * 8
    assert all(trial.value == trial.params["x"] for trial in suggested)
    starts = [line for file in tmp_path.glob("*/attempts.jsonl") for line in file.read_text().splitlines()]
    assert sum(json.loads(line)["event"] == "start" for line in starts) == 8


def test_a_direction_that_contradicts_the_metric_or_the_study_is_named(tmp_path):
    def suggest(trial):
        return {"x": 1, "is_error": True}

    with pytest.raises(ConfigError, match="--metric=score: smaller values are better; add --minimize"):
        run(tmp_path / "a", suggest, Options(1, "score"))
    with pytest.raises(ConfigError, match=r"study\.log: the study was started to maximize its metric"):
        run(tmp_path / "a", suggest, Options(1, "score", maximize=False))
    assert run(tmp_path / "b", suggest, Options(1, "score", maximize=False))[0] == 0


def test_a_metric_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ConfigError, match="--metric=scor: trial .* has no such metric; did you mean 'score'"):
        run(tmp_path, lambda trial: {"x": 1}, Options(1, "scor"))


def test_the_seed_cannot_be_searched_and_repeated(tmp_path):
    with pytest.raises(ConfigError, match="--seeds=2 sets"):
        run(tmp_path, lambda trial: {"x": 1, "train.seed": 3}, Options(1, "score", seeds=2))


def slow(trial):
    return {"x": trial.suggest_float("x", 0, 1), "seconds": 0.7}


if __name__ == "__main__":
    run(Path(sys.argv[1]), slow, Options(8, "score"), jobs=2)
