"""Tests of `svilm sweep`: every trial is checked before anything starts, and values arrive exactly."""

import importlib.util
import json

import pytest

from svilm_jax.cli import sweep as command
from svilm_jax.cli.config_file import read_config
from svilm_jax.config import ConfigError
from svilm_jax.main import main
from svilm_jax.objectives import registry

SWEEPS = """
from tests.tiny import get_config

def sweep_values():
    yield {"model.video.tubelet_size": (4, 8, 8), "input.flip": False, "optimizer.learning_rate": 1 / 3}
    yield {"objectives.temporal_grouping.loss": "bce", "evaluators.other": {"kind": "retrieval", "split": "b, c"}}
    yield {"objectives.spatial_grounding": None, "init.checkpoint": "runs/x", "init.model.video": {"num_frames": 16}}

def sweep_width():
    for width in (16, 32):
        yield {"arg.width": width}

def sweep_seed():
    for seed in range(2):
        yield {"train.seed": seed}

def sweep_typo():
    yield {"train.seed": 0}
    yield {"train.sede": 1}

def sweep_objective():
    yield {"objectives.temporal_gruping.weight": 1.0}

def sweep_option():
    yield {"evaluators.other": {"kind": "retrieval", "spilt": "test"}}

def sweep_needs():
    yield {"splice.enabled": False}

def sweep_unused():
    yield {"optimizer.momentum": 0.5}

def sweep_table():
    yield {"train": {"steps": 3}}

def sweep_below():
    yield {"train.steps.x": 3}

def sweep_fails():
    raise KeyError("oh")
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(SWEEPS)
    return str(path)


def test_values_arrive_exactly_as_the_file_gives_them(file, tmp_path):
    first, second, third = command.resolve_trials(file, ["values"], [])
    configs = []
    for trial in (first, second, third):
        path = tmp_path / f"{trial.id}.json"
        path.write_text(json.dumps(trial.config))
        configs.append(read_config(str(path), []))
    assert configs[0].model.video.tubelet_size == (4, 8, 8)
    assert configs[0].input.flip is False
    assert configs[0].optimizer.learning_rate == 1 / 3
    assert configs[1].objectives["temporal_grouping"] == {"loss": "bce"}
    assert configs[1].evaluators["other"] == {"kind": "retrieval", "split": "b, c"}
    assert "spatial_grounding" not in configs[2].objectives
    assert configs[2].init.model == {"video": {"num_frames": 16}}


def test_a_product_of_an_argument_of_the_config_and_a_seed(file):
    trials = command.resolve_trials(f"{file}:dataset=runs/x", ["width", "seed"], ["--config.train.steps=3"])
    found = [(trial.config["model"]["video"]["hidden_size"], trial.config["train"]["seed"]) for trial in trials]
    assert found == [(16, 0), (16, 1), (32, 0), (32, 1)]
    assert {(trial.config["input"]["dataset"], trial.config["train"]["steps"]) for trial in trials} == {("runs/x", 3)}


def test_the_identity_of_a_trial_has_every_default_filled_in(file):
    (given, *_) = command.resolve_trials(file, ["seed"], [])
    same = command.resolve_trials(file, ["seed"], ["--config.objectives.global_contrast.weight=1.0"])[0]
    other = command.resolve_trials(file, ["seed"], ["--config.objectives.global_contrast.weight=2.0"])[0]
    assert given.id == same.id != other.id


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("typo", "trial 2 of 2 (train.sede=1): config.train.sede: no such key; did you mean 'seed'?"),
        ("objective", "config.objectives.temporal_gruping: no such objective; did you mean 'temporal_grouping'?"),
        ("option", "config.evaluators.other.spilt: no such key; did you mean 'split'?"),
        ("needs", "config.objectives.temporal_grouping needs cut and paste"),
        ("unused", "config.optimizer.momentum is not used with config.optimizer.name='adamw'"),
        ("table", "config.train is a table: assign its keys one by one"),
        ("below", "config.train.steps is a value and has no keys"),
        ("width,sede", "defines no function sweep_sede(); did you mean 'seed'?"),
        ("fails", "line 40: KeyError: oh"),
    ],
)
def test_a_mistake_ends_the_sweep_before_anything_is_written(file, name, message, tmp_path, capsys):
    assert main(["sweep", f"--config={file}", f"--sweep={name}", f"--out={tmp_path / 'out'}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "out").exists()


def test_an_override_of_a_swept_key_is_refused(file, tmp_path, capsys):
    arguments = [f"--config={file}", "--sweep=seed", f"--out={tmp_path / 'out'}", "--config.train.seed=3"]
    assert main(["sweep", *arguments]) == 2
    assert "--config.train.seed overrides config.train.seed, which the sweep changes" in capsys.readouterr().err


@pytest.mark.parametrize("argument", ["--jobs=-1", "--retries=-1", "--gpus-per-trial=-2"])
def test_negative_numbers_are_refused(file, argument, tmp_path, capsys):
    assert main(["sweep", f"--config={file}", "--sweep=seed", f"--out={tmp_path / 'out'}", argument]) == 2
    assert f"{argument}: expected a number of at least 0" in capsys.readouterr().err


def test_a_dry_run_prints_the_plan_and_writes_nothing(file, tmp_path, capsys):
    arguments = [f"--config={file}", "--sweep=width,seed", f"--out={tmp_path / 'out'}", "--dry-run"]
    assert main(["sweep", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    ids = [trial.id for trial in command.resolve_trials(file, ["width", "seed"], [])]
    assert [line.split("  ")[0] for line in lines] == ids
    assert lines[1].endswith("arg.width=16 train.seed=1")
    assert not (tmp_path / "out").exists()


def test_a_changed_sweep_says_what_is_new(file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "run_sweep", lambda *_: 0)
    out = f"--out={tmp_path / 'out'}"
    assert main(["sweep", f"--config={file}", "--sweep=seed", out]) == 0
    capsys.readouterr()
    assert main(["sweep", f"--config={file}", "--sweep=width", out]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "new in the plan (1): arg.width=32",  # the other one has the default width and seed
        "in the plan, but not in this sweep, and therefore not run: 1",
    ]


REGISTERS = """
import dataclasses
from svilm_jax.objectives.registry import register_objective
from tests import tiny

@dataclasses.dataclass(frozen=True)
class Nothing:
    weight: float = 1.0
    NEEDS = READS = ()
    SPANS_BATCH = False

register_objective("nothing", Nothing)

def get_config(arg=None):
    config = tiny.get_config(arg)
    config.objectives.nothing = {"weight": 2.0}
    return config

def sweep():
    yield {"objectives.nothing.weight": 3.0}
"""


def test_an_objective_of_the_config_file_reaches_the_trial(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "OBJECTIVES", dict(registry.OBJECTIVES))
    file = tmp_path / "registers.py"
    file.write_text(REGISTERS)
    (trial,) = command.resolve_trials(str(file), [], [])
    (tmp_path / "trial.json").write_text(json.dumps(trial.config))
    del registry.OBJECTIVES["nothing"]  # as in the process of the trial
    assert read_config(str(tmp_path / "trial.json"), []).objectives["nothing"] == {"weight": 3.0}


def test_a_json_config_takes_overrides_and_no_argument(file, tmp_path):
    (tmp_path / "c.json").write_text(json.dumps(command.resolve_trials(file, ["seed"], [])[1].config))
    assert read_config(str(tmp_path / "c.json"), ["--config.train.steps=9"]).train.steps == 9
    (tmp_path / "list.json").write_text("[]")
    for name, message in (("c.json:seed=1", "takes no argument"), ("list.json", "expected a JSON object")):
        with pytest.raises(ConfigError, match=message):
            read_config(str(tmp_path / name), [])


def test_a_colon_in_the_folder_is_refused(file, tmp_path, capsys):
    assert main(["sweep", f"--config={file}", "--sweep=seed", f"--out={tmp_path / 'a:b'}"]) == 2
    assert "a colon separates" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric=x"], "belong to a search: add --trials=N"),
        (["--seeds=2"], "belong to a search: add --trials=N"),
        (["--trials=3"], "a search needs --metric=NAME"),
        (["--trials=3", "--metric=x", "--sweep=seed"], "exclude each other"),
        (["--trials=3", "--metric=x", "--dry-run"], "not known beforehand"),
        (["--trials=3", "--metric=x", "--seeds=0"], "--seeds=0: expected a number of at least 1"),
        (["--trials=-3", "--metric=x"], "--trials=-3: expected a number of at least 0"),
    ],
)
def test_options_of_a_search_fit_together(file, arguments, message, tmp_path, capsys):
    assert main(["sweep", f"--config={file}", f"--out={tmp_path / 'out'}", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


SEARCHES = """
import optuna
from tests.tiny import get_config

def study():
    return {"sampler": optuna.samplers.RandomSampler(seed=1)}

def search(trial):
    return {"config.optimizer.learning_rate": trial.suggest_float("rate", 1e-4, 1e-2, log=True), KEY: 3}
"""


@pytest.mark.environment("search")
@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("train.seed", ""),
        ("train.sede", "a suggested trial (optimizer.learning_rate=0.000"),
        ("train..x", "search(trial) yields the key 'train..x'"),
    ],
)
def test_suggested_trials_are_resolved(key, message, tmp_path, capsys, monkeypatch):
    started = []
    monkeypatch.setattr(command.LocalLauncher, "start", lambda self, job: started.append(job))
    monkeypatch.setattr(command, "run_sweep", lambda sweep, launcher, progress, search: started.extend(search.next(())))
    file = tmp_path / "searches.py"
    file.write_text(SEARCHES.replace("KEY", repr(key)))
    arguments = ["sweep", f"--config={file}", f"--out={tmp_path / 'out'}", "--trials=2", "--metric=score"]
    assert main(arguments) == (2 if message else 0)
    assert message in capsys.readouterr().err
    assert [set(trial.changes) for trial in started] == ([] if message else [{"optimizer.learning_rate", "train.seed"}])


@pytest.mark.services
def test_two_trainings_are_compared(file, moving_shapes, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [f"--config={file}:dataset={moving_shapes},evaluator=retrieval", "--sweep=seed", f"--out={out}"]
    assert main(["sweep", *arguments, "--config.train.steps=2", "--jobs=2"]) == 0
    header, *lines = (out / "results.csv").read_text().splitlines()
    assert "retrieval/t2v_R1" in header
    assert [line.split(",")[1:4] for line in lines] == [["0", "done", "2"], ["1", "done", "2"]]
    before = (out / "results.csv").read_bytes()
    assert main(["sweep", *arguments, "--config.train.steps=2", "--jobs=2"]) == 0
    assert (out / "results.csv").read_bytes() == before


def test_options_of_ray_belong_to_its_launcher(file, tmp_path, capsys):
    common = ["sweep", f"--config={file}", "--sweep=seed", f"--out={tmp_path / 'out'}"]
    for option in ("--ray-address=http://127.0.0.1:1", "--cpus-per-trial=2"):
        assert main([*common, option]) == 2
        assert f"{option.partition('=')[0]} belongs to --launcher=ray" in capsys.readouterr().err
    assert main([*common, "--launcher=ray", "--cpus-per-trial=-1"]) == 2
    assert "--cpus-per-trial=-1.0: expected a number of at least 0" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed here")
def test_without_ray_its_launcher_names_the_extra(file, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["sweep", f"--config={file}", "--sweep=seed", f"--out={out}", "--launcher=ray"]) == 2
    assert "--launcher=ray needs Ray (No module named 'ray'): pip install 'svilm_jax[ray]'" in capsys.readouterr().err
    assert not out.exists()
