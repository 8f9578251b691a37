"""Tests of every task on real clips with official lists: real names and codecs, too few clips to score."""

import json
import math

import pytest

from svilm_jax.evaluation.metrics_file import read_scalars
from svilm_jax.main import main

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("compiled_in_haste")]

SHRUNK = {
    "train.steps": 1,
    "train.batch_size": 2,
    "train.log_every": 1,
    "input.workers": 0,
    "input.threads": 1,
    "input.max_failure_fraction": 1.0,
}
TINY = {
    "model.video.num_layers": 1,
    "model.grouping.after_layers": "(1,)",
    "splice.enabled": False,
    "input.cache_bytes": 0,
}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("real")


@pytest.fixture(scope="module")
def prepared(realdata, work):
    """Prepares a dataset from its official files and the clips held of it; once each."""
    made = {}

    def prepare(name, annotations, videos, *more):
        if name not in made:
            arguments = ["--annotations", f"{realdata / 'annotations' / annotations}", "--out", f"{work}"]
            arguments += ["--videos", f"{realdata / 'videos' / videos}", "--max-skipped-fraction", "1", *more]
            assert main(["prepare", name, *arguments, "--short-side", "32", "--fps", "4"]) == 0
            made[name] = work / name
        return made[name]

    return prepare


@pytest.fixture(scope="module")
def pretrained(prepared, work):
    """A tiny model pre-trained on the clips of MSVD's training split."""
    config = work / "pretrain.py"
    config.write_text(
        "from tests.tiny import get_config as tiny\n\n\ndef get_config(arg=None):\n    config = tiny(arg)\n"
        "    del config.objectives.temporal_grouping\n    return config\n"
    )
    dataset = prepared("msvd", "msvd", "msvd")
    assert run(f"{config}:dataset={dataset}", work / "pretrained", **TINY) == 0
    return work / "pretrained"


def overrides(**changes):
    return [f"--config.{key}={value}" for key, value in changes.items()]


def run(config, workdir, **changes):
    return main(["train", f"--config={config}", f"--workdir={workdir}", *overrides(**{**SHRUNK, **changes})])


def metrics(workdir):
    found = read_scalars(workdir / "metrics.json")
    assert all(math.isfinite(value) for value in found.values())
    return found


@pytest.mark.parametrize(
    ("data", "annotations", "videos", "held"),
    [("msvd", "msvd", "msvd", 2), ("msrvtt", "msrvtt", "msrvtt", 1)],
)
def test_retrieval(prepared, pretrained, work, data, annotations, videos, held):
    dataset = prepared(data, annotations, videos)
    workdir = work / f"{data}_retrieval"
    config = f"configs/finetune/retrieval.py:data={data}"
    changes = {"init.checkpoint": pretrained, "input.dataset": dataset, "train.batch_size": held}
    if data == "msvd":
        changes["evaluators.validation.split"] = "train"  # which has clips in the part that is held
    assert run(config, workdir, **changes) == 0
    found = metrics(workdir)
    assert found["retrieval/failed_fraction"] == 0
    assert found["retrieval/v2t_MedR"] >= 1
    if held == 1:
        assert found["retrieval/t2v_R1"] == 1.0  # 1k-A keeps one sentence of the one clip held


def test_question_answering(prepared, pretrained, work, realdata, capsys):
    dataset = prepared("msvd_qa", "msvd_qa", "msvd")
    other = prepared("msrvtt_qa", "msrvtt_qa", "msrvtt")
    workdir = work / "qa"
    config = "configs/finetune/question_answering.py:data=msvd_qa"
    changes = {"init.checkpoint": pretrained, "input.dataset": dataset}
    changes["evaluators.validation.split"] = "train"
    predictions = {"evaluators.question_answering.predictions": work / "msvd_answers.json"}
    assert run(config, workdir, **changes, **predictions) == 0
    found = metrics(workdir)
    capsys.readouterr()
    truth = realdata / "fixtures/msvd_qa/test_qa.clips.json"  # the official questions on the clips held
    scored = ["score", "qa", "--ground-truth", f"{truth}", "--predictions", f"{work / 'msvd_answers.json'}"]
    assert main(scored) == 0
    score = json.loads(capsys.readouterr().out)
    answered = len(json.loads((work / "msvd_answers.json").read_text()))  # questions on other clips count as wrong
    hits = score["accuracy"] / 100 * len(json.loads(truth.read_text()))
    assert 0 < answered < len(json.loads(truth.read_text()))
    assert hits == pytest.approx(answered * found["qa/accuracy"])
    # Right: a man on a motorcycle, where the three clips held of training show women and a cat. All of it counts.
    assert found["qa/out_of_vocabulary_fraction"] == 1.0
    assert found["qa/accuracy"] == 0.0
    # The model of one dataset asked the questions of another.
    out = work / "msrvtt_qa.json"
    elsewhere = [f"--config.input.dataset={other}", "--config.evaluators.validation.split=test"]
    assert main(["eval", f"{workdir}", *elsewhere, f"--out={out}"]) == 0
    assert "qa/accuracy_who" in json.loads(out.read_text())


@pytest.mark.parametrize(("data", "fold"), [("ucf101", 3), ("hmdb51", 2)])
def test_action_recognition(prepared, pretrained, work, data, fold):
    dataset = prepared(data, data, data)
    workdir = work / data
    config = f"configs/finetune/action_recognition.py:data={data},fold={fold}"
    changes = {"init.checkpoint": pretrained, "input.dataset": dataset, "train.batch_size": 1}
    assert run(config, workdir, **changes) == 0
    found = metrics(workdir)
    assert found["action/failed_fraction"] == 0
    assert {"action/top1", "action/top5"} <= found.keys()


def test_localization(prepared, pretrained, work):
    dataset = prepared("activitynet", "activitynet/derived", "activitynet")
    features = work / "features"
    extract = ["extract-features", "--model", f"{pretrained}", "--dataset", f"{dataset}", "--split", "train"]
    assert main([*extract, "--out", f"{features}", "--window", "2", "--stride", "1"]) == 0
    changes = {
        "model.localization.features": features,
        "evaluators.localization.features": features,
        "evaluators.localization_loss.features": features,
        "model.localization.classify": True,  # no scores of an external classifier are held
        "model.localization.num_steps": 8,
        "model.localization.hidden_size": 128,
        "model.localization.num_samples": 4,
        "train.batch_size": 1,
    }
    workdir = work / "localization"
    assert run("configs/finetune/localization.py", workdir, **changes) == 0
    found = metrics(workdir)
    assert 0 <= found["localization/mAP"] <= 1
    assert found["localization/loss"] > 0
    assert found["train/best_step"] == found["train/steps"] == 1


def test_dense_captions_align_at_two_levels(prepared, pretrained, work):
    dataset = prepared("activitynet_captions", "anet_captions", "activitynet")
    workdir = work / "dense"
    config = "configs/finetune/retrieval.py:data=activitynet_captions,align=multilevel"
    changes = {"init.checkpoint": pretrained, "input.dataset": dataset, "train.batch_size": 1}
    assert run(config, workdir, **changes, **{"evaluators.retrieval.split": "train"}) == 0
    assert metrics(workdir)["retrieval/t2v_R1"] == 1.0  # of one video
