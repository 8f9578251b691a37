"""Tests of the tasks in sequence: pre-train, fine-tune each, embed, localize, and user errors."""

import json
import math

import jax
import numpy as np
import pytest

from svilm_jax.checkpoints import load
from svilm_jax.evaluation.metrics_file import read_scalars
from svilm_jax.main import main
from svilm_jax.models.parameters import parameters
from tests.conftest import SIZES

pytestmark = pytest.mark.usefixtures("compiled_in_haste")

# A step or two of each task, on a dataset of a few clips.
SHRUNK = {"train.steps": 2, "train.batch_size": 4, "train.log_every": 1, "input.threads": 1}
# The tiny model with one layer: what takes long here is to compile it, for every task anew.
TINY = {"model.video.num_layers": 1, "model.grouping.after_layers": "(1,)", "splice.enabled": False}
SEED = {"train.seed": 5}  # of pre-training: parameters that fine-tuning would not start with by itself
RETRIEVAL = [f"retrieval/{way}_{name}" for way in ("t2v", "v2t") for name in ("R1", "R5", "R10", "MedR", "R1_chance")]


def overrides(**changes):
    return [f"--config.{key}={value}" for key, value in changes.items()]


def train(config, workdir, **changes):
    arguments = ["train", f"--config={config}", f"--workdir={workdir}", *overrides(**{**SHRUNK, **changes})]
    return main(arguments)


def finished(workdir, *names):
    """The metrics of a run, every one finite, those named among them."""
    metrics = read_scalars(workdir / "metrics.json")
    assert not [name for name in names if name not in metrics], sorted(metrics)
    assert all(math.isfinite(value) for value in metrics.values())
    return metrics


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("tasks")


@pytest.fixture(scope="module")
def pretrained(moving_shapes, work):
    """A checkpoint of the tiny model."""
    config = work / "pretrain.py"
    config.write_text(
        "from tests.tiny import get_config as tiny\n\n\ndef get_config(arg=None):\n    config = tiny(arg)\n"
        "    del config.objectives.temporal_grouping, config.objectives.spatial_grounding\n    return config\n"
    )
    workdir = work / "pretrained"
    assert train(f"{config}:dataset={moving_shapes}", workdir, **TINY, **SEED) == 0
    return workdir


@pytest.fixture(scope="module")
def features(moving_shapes, pretrained, work):
    """Folders of features of the untrimmed splits."""
    folders = {split: work / "features" / split for split in ("untrimmed_train", "untrimmed_test")}
    for split, out in folders.items():
        assert embed(pretrained, split, out) == 0
    return folders


def embed(workdir, split, out, *more):
    windows = ["--window=1", "--stride=0.5"]
    return main(["extract-features", "--model", f"{workdir}", "--split", split, "--out", f"{out}", *windows, *more])


@pytest.fixture
def tuned(moving_shapes, pretrained, work):
    """Fine-tunes by a config of the project, from the tiny checkpoint."""

    def run(config, name, **changes):
        workdir = work / name
        changes = {"init.checkpoint": pretrained, "input.dataset": moving_shapes, "input.cache_bytes": 0, **changes}
        assert train(f"configs/finetune/{config}", workdir, **changes) == 0
        return workdir

    return run


def towers(workdir):
    """Name -> array of what pre-training and fine-tuning share."""
    leaves = jax.tree_util.tree_leaves_with_path(parameters(load(workdir).model))
    named = {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}
    return {name: leaf for name, leaf in named.items() if not name.startswith("head.")}


def moved(before, after):
    """The largest step of any parameter of the towers."""
    one, other = towers(before), towers(after)
    assert one.keys() == other.keys()
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def test_retrieval_of_paragraphs_with_alignment(tuned, pretrained):
    # As many as the split has: in a larger batch a clip would be its own negative.
    changes = {"train.batch_size": SIZES["untrimmed_train"]}
    workdir = tuned("retrieval.py:data=untrimmed,align=multilevel", "retrieval", **changes)
    finished(workdir, *RETRIEVAL, "train/steps")
    assert load(workdir).config.model.video == load(pretrained).config.model.video
    assert 0 < moved(pretrained, workdir) < 0.01  # it goes on from there, and not from elsewhere


def test_question_answering(tuned, pretrained):
    workdir = tuned("question_answering.py:data=moving_shapes", "questions", **{"model.head.num_layers": 1})
    metrics = finished(
        workdir,
        *(f"qa/{name}" for name in ("accuracy", "accuracy_what", "accuracy_majority", "accuracy_majority_by_kind")),
        *("qa/accuracy_how_many", "qa/out_of_vocabulary_fraction", "qa/failed_fraction"),
    )
    assert all(0 <= value <= 1 for name, value in metrics.items() if name.startswith("qa/"))
    assert len(load(workdir).config.model.head.classes) > 10
    assert 0 < moved(pretrained, workdir) < 0.01


def test_action_recognition(tuned):
    workdir = tuned("action_recognition.py:data=moving_shapes", "actions")
    finished(workdir, "action/top1", "action/top5", "action/top1_majority", "action/failed_fraction")


def test_linear_probe(moving_shapes, pretrained, work):
    config = "--config=configs/finetune/action_recognition.py:data=moving_shapes,mode=probe"
    out = work / "probe.json"
    dataset = f"--config.input.dataset={moving_shapes}"
    assert main(["eval", f"{pretrained}", config, dataset, f"--out={out}"]) == 0
    metrics = json.loads(out.read_text())
    assert {"probe/top1", "probe/top1_random_tower", "probe/top1_majority", "probe/penalty"} <= metrics.keys()
    assert 0 <= metrics["probe/top1"] <= 1


def test_zero_shot_retrieval_by_the_config_of_fine_tuning(moving_shapes, pretrained, work):
    config = "--config=configs/finetune/retrieval.py:data=moving_shapes"
    out = work / "zero_shot.json"
    assert main(["eval", f"{pretrained}", config, f"--config.input.dataset={moving_shapes}", f"--out={out}"]) == 0
    assert set(RETRIEVAL) <= json.loads(out.read_text()).keys()


LOCALIZATION = {
    "model.localization.num_steps": 8,
    "model.localization.hidden_size": 32,
    "model.localization.num_samples": 4,
}


def localize(work, features, name, **changes):
    folders = {
        "model.localization.features": features["untrimmed_train"],
        "evaluators.localization.features": features["untrimmed_test"],
    }
    config = "configs/finetune/localization.py:data=moving_shapes"
    return train(config, work / name, **{**folders, **LOCALIZATION, **changes})


def test_localization(features, work):
    assert localize(work, features, "localized") == 0
    names = [f"localization/mAP{ending}" for ending in ("", "_50", "_75", "_95")]
    metrics = finished(work / "localized", *names)
    assert all(0 <= metrics[name] <= 1 for name in names)
    config = load(work / "localized").config
    assert config.model.localization.feature_dim == 16
    assert "spin" in config.model.head.classes


def contents(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("*.npy")}


def test_embedding_again_computes_nothing(features, pretrained, monkeypatch, capsys):
    out = features["untrimmed_test"]
    before = contents(out)
    assert len(before) == 2
    asked = []
    monkeypatch.setattr(
        "svilm_jax.evaluation.clips.EvaluationClips.read",
        lambda self, numbers, windows: asked.extend(numbers) or iter(()),
    )
    assert embed(pretrained, "untrimmed_test", out) == 0
    assert asked == []
    assert contents(out) == before
    assert "2 videos, feature dimension 16" in capsys.readouterr().out


def told(capsys):
    """The one line of a mistake."""
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1, printed.err
    return printed.err


def test_features_of_other_parameters_are_not_mixed_in(features, pretrained, monkeypatch, capsys):
    out = features["untrimmed_test"]
    before = contents(out)
    capsys.readouterr()
    assert embed(pretrained, "untrimmed_test", out, "--random") == 2
    assert "has features of another source (parameters was 'pretrained step 2" in told(capsys)

    def other(path):
        """A run of that name and as many steps, from another seed."""
        found = load(path)
        found.model.video_projection.kernel[...] += 1
        return found

    monkeypatch.setattr("svilm_jax.cli.extract_features.load", other)
    assert embed(pretrained, "untrimmed_test", out) == 2
    assert "has features of another source (parameters was 'pretrained step 2" in told(capsys)
    assert contents(out) == before


def test_a_finished_run_returns_at_once_and_says_the_same(tuned, monkeypatch):
    config, name = "action_recognition.py:data=moving_shapes", "actions"
    before = finished(tuned(config, name))  # finished by the test above, or now
    monkeypatch.setattr("svilm_jax.input.pipeline.TrainInput.__next__", None)
    after = finished(tuned(config, name))
    del before["train/seconds"], after["train/seconds"]
    assert before == after


def test_an_init_without_a_checkpoint(moving_shapes, tmp_path, capsys):
    changes = {"init.checkpoint": tmp_path / "nowhere", "input.dataset": moving_shapes}
    assert train("configs/finetune/retrieval.py:data=moving_shapes", tmp_path / "run", **changes) == 2
    assert "nowhere: no checkpoint here; expected a --workdir" in told(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        ("question_answering.py:data=moving_shapes", "lists no answers of training questions (answers.json)"),
        ("action_recognition.py:data=moving_shapes", "lists no action labels (labels.json)"),
    ],
)
def test_a_dataset_without_answers_or_labels(moving_shapes, pretrained, tmp_path, capsys, config, missing):
    dataset = tmp_path / "moving_shapes"
    dataset.mkdir()
    (dataset / "1.0.0").symlink_to(moving_shapes / "1.0.0")
    changes = {"init.checkpoint": pretrained, "input.dataset": dataset}
    capsys.readouterr()
    assert train(f"configs/finetune/{config}", tmp_path / "run", **changes) == 2
    assert missing in told(capsys)


def test_features_of_another_width(features, work, tmp_path, capsys):
    index = json.loads((features["untrimmed_test"] / "features.json").read_text())
    wide = tmp_path / "wide"
    wide.mkdir()
    (wide / "features.json").write_text(json.dumps({**index, "width": 17}))
    capsys.readouterr()
    assert localize(tmp_path, features, "run", **{"evaluators.localization.features": wide}) == 2
    assert "features of width 17" in told(capsys)


def test_a_folder_without_features(features, tmp_path, capsys):
    capsys.readouterr()
    assert localize(tmp_path, features, "run", **{"model.localization.features": tmp_path / "none"}) == 2
    assert "expected a folder that `svilm extract-features` wrote" in told(capsys)


def test_a_split_that_is_not_there(pretrained, tmp_path, capsys):
    capsys.readouterr()
    assert embed(pretrained, "untrimmed_tst", tmp_path / "out") == 2
    assert "did you mean 'untrimmed_test'" in told(capsys)
    assert not (tmp_path / "out").exists()
