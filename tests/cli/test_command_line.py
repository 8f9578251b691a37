"""Tests of the `svilm` command line: help, one-line errors, and train to report on a tiny dataset."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from svilm_jax.evaluation.metrics_file import read_scalars

ROOT = Path(__file__).parents[2]


def svilm(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "svilm_jax.main", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "true"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "compile",
        "eval",
        "embed",
        "extract-features",
        "config",
        "search",
        "serve",
        "import",
        "export",
        "score",
        "prepare",
        "inspect",
        "report",
    ],
)
def test_help(command):
    done = svilm(command, "--help")
    assert done.returncode == 0
    assert "usage: svilm" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.trian.steps=3"], "config.trian: no such key; did you mean 'train'"),
        (["--config.train.steps=three"], "config.train.steps='three': expected a whole number"),
        (["--config.model.video.tubelet_size=(2,16)"], "config.model.video.tubelet_size=(2, 16): expected 3 values"),
        (["--confg.train.steps=3"], "expected --config.KEY=VALUE"),
        (["--config.input.dataset=/nowhere"], "/nowhere: no such folder"),
        (["--config.input.dataset="], "no dataset given"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(arguments, message, tmp_path):
    done = svilm("train", "--config=configs/pretrain/demo.py", f"--workdir={tmp_path}", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_wrong_config_argument_names_the_known_ones(tmp_path):
    done = svilm("train", "--config=configs/pretrain/demo.py:objective=full", f"--workdir={tmp_path}")
    assert done.returncode == 2
    assert "did you mean 'objectives'" in done.stderr


@pytest.mark.services
def test_train_eval_and_report_of_the_demo_shrunk(moving_shapes, tmp_path):
    """The demo's own evaluators and report, on a dataset of a few clips."""
    small = {
        "input.dataset": moving_shapes,
        "train.steps": 2,
        "train.batch_size": 8,
        "train.log_every": 1,
        "model.video.hidden_size": 32,
        "model.text.hidden_size": 32,
    }
    changes = [f"--config.{key}={value}" for key, value in small.items()]
    done = svilm("train", "--config=configs/pretrain/demo.py", f"--workdir={tmp_path}", *changes)
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = read_scalars(tmp_path / "metrics.json")
    promised = [
        *(f"retrieval/{way}_{name}" for way in ("t2v", "v2t") for name in ("R1", "R5", "R10", "MedR", "R1_chance")),
        *("retrieval_hard/t2v_R1", "retrieval_hard/t2v_R1_oracle", "retrieval_hard/t2v_R1_chance"),
        *("grounding/pointing_game", "grounding/pointing_game_phrase_blind", "grounding/pointing_game_chance"),
        *(
            "grounding/mean_iou",
            "grouping/scene_cut_f1",
            "grouping/tubelet_accuracy",
            "grouping/tubelet_accuracy_chance",
        ),
        *("grouping/tubelet_accuracy_raw_pixels", "grouping/tubelet_accuracy_all_foreground"),
    ]
    assert not [name for name in promised if name not in metrics]
    assert all(0 <= metrics[name] <= 1 for name in promised if not name.endswith("MedR"))

    again = svilm("eval", tmp_path, f"--out={tmp_path / 'again.json'}")
    assert again.returncode == 0, again.stderr[-3000:]
    for name, value in read_scalars(tmp_path / "again.json").items():
        assert metrics[name] == pytest.approx(value, abs=1e-6), name

    report = svilm("report", tmp_path)
    assert report.returncode == 0, report.stderr[-3000:]
    page = (tmp_path / "report.html").read_text()
    assert "<html" in page
    assert 'src="http' not in page
    assert (tmp_path / "figures").is_dir()
