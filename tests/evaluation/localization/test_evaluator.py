"""Tests of the localization evaluator: a perfect localizer, an imperfect one by the official score, and mismatches."""

import dataclasses
import json

import numpy as np
import pytest

from svilm_jax.config import Config, ConfigError, HeadConfig, LocalizationConfig, ModelConfig
from svilm_jax.evaluation.clips import EvaluationError
from svilm_jax.evaluation.localization.evaluator import BATCH, LocalizationEvaluator, LocalizationOptions
from svilm_jax.evaluation.localization.loss_evaluator import LocalizationLossEvaluator, LocalizationLossOptions
from svilm_jax.evaluation.localization.proposals import propose
from svilm_jax.evaluation.localization.published_files import read_submission
from svilm_jax.evaluation.metric import scalars
from svilm_jax.input.features import FeatureError, FeatureIndex, VideoFeatures, file_name, write_index
from svilm_jax.input.schema import Action
from svilm_jax.main import main
from svilm_jax.models.outputs import LocalizationOutputs

STEPS, WIDTH = 8, 5
CLASSES = ("spin", "rest", "grow")
SURE = 30.0  # a logit


def truths(count):
    """Of every video two segments on the edges of steps, as (class, first step, step after the last)."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        a, b, c, d = sorted(rng.choice(STEPS + 1, 4, replace=False))
        one, other = rng.choice(len(CLASSES), 2, replace=False)
        found.append([(int(one), int(a), int(b)), (int(other), int(c), int(d))])
    return found


COUNT = BATCH + 3  # so that the last batch is filled up
TRUTHS = truths(COUNT)
DURATIONS = [10.0 + number for number in range(COUNT)]


def write_model_directory(folder, width=WIDTH, actions=True):
    """Features whose first column says which video they are of."""
    videos = []
    for number, (segments, duration) in enumerate(zip(TRUTHS, DURATIONS, strict=True)):
        name, step = f"v_{number}", duration / STEPS
        labeled = tuple(Action(CLASSES[c], a * step, b * step) for c, a, b in segments) if actions else ()
        videos.append(VideoFeatures(name, file_name(name), duration, labeled))
        np.save(folder / file_name(name), np.full((4, width), number, np.float32))
    write_index(folder, FeatureIndex(1.0, 3.0, 0.0, width, CLASSES, tuple(videos), {}))
    return str(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model_directory(tmp_path_factory.mktemp("features"))


def make_config(classify=True):
    localization = LocalizationConfig(feature_dim=WIDTH, num_steps=STEPS, classify=classify)
    return Config(task="localization", model=ModelConfig(head=HeadConfig(classes=CLASSES), localization=localization))


class Oracle:
    """In place of an encoder: outputs that are the truth, perhaps with noise, by the number in the features."""

    def __init__(self, noise=0.0, classes=True):
        self.noise, self.classes, self.asked = noise, classes, 0

    def call(self, function, features):
        assert features.shape == (BATCH, STEPS, WIDTH)
        self.asked += 1
        start, end = np.full((2, BATCH, STEPS), -SURE)
        scores = np.full((BATCH, 2, STEPS, STEPS), -SURE)
        classes = np.zeros((BATCH, STEPS, len(CLASSES) + 1))  # the last one: nothing
        for row in range(BATCH):
            for label, first, after in TRUTHS[int(features[row, 0, 0])]:
                start[row, first] = end[row, after - 1] = scores[row, :, first, after - 1 - first] = SURE
                classes[row, first:after, label] = SURE
        rng = np.random.default_rng(self.asked)
        outputs = [x + self.noise * rng.normal(size=x.shape) for x in (start, end, scores, classes)]
        valid = np.add.outer(np.arange(STEPS), np.arange(STEPS)) < STEPS
        valid = np.broadcast_to(valid, (BATCH, STEPS, STEPS))
        return LocalizationOutputs(*outputs[:3], valid, outputs[3] if self.classes else None)


def run(oracle, folder, config=None, **options):
    options = LocalizationOptions(features=str(folder), **options)
    return scalars(LocalizationEvaluator(options, config or make_config()).run(oracle))


PERFECT = {"localization/mAP_50": 1.0, "localization/mAP_75": 1.0, "localization/mAP_95": 1.0, "localization/mAP": 1.0}


def test_the_truth_scores_one(folder):
    oracle = Oracle()
    assert run(oracle, folder, top=1) == pytest.approx(PERFECT)
    assert oracle.asked == 2


def test_a_second_class_a_proposal_costs_nothing_where_the_first_is_sure(folder):
    assert run(Oracle(), folder, top=2) == pytest.approx(PERFECT)


def write_classifier(path, classes, score=0.5):
    """Of every video the two classes given for it."""
    rows = [[score if c in of else 0.01 * c for c in range(len(CLASSES))] for of in classes]
    path.write_text(json.dumps({"results": {str(n): row for n, row in enumerate(rows)}, "class": CLASSES}))
    return str(path)


def test_an_external_classifier_names_the_proposals(folder, tmp_path):
    right = write_classifier(tmp_path / "right.json", [{c for c, _, _ in segments} for segments in TRUTHS])
    metrics = run(Oracle(classes=False), folder, make_config(classify=False), classifier=right)
    # Each of the two segments also comes with the class of the other, at the same score.
    assert metrics["localization/unknown_to_classifier_fraction"] == 0.0
    assert 0.4 < metrics["localization/mAP_50"] < 1
    assert metrics["localization/mAP_50"] == pytest.approx(metrics["localization/mAP_95"])
    wrong = write_classifier(tmp_path / "wrong.json", [set(range(3)) - {c for c, _, _ in s} for s in TRUTHS])
    assert run(Oracle(classes=False), folder, make_config(classify=False), classifier=wrong, top=1)[
        "localization/mAP"
    ] == pytest.approx(0)


def test_a_classifier_goes_before_the_class_branch(folder, tmp_path):
    wrong = write_classifier(tmp_path / "wrong.json", [set(range(3)) - {c for c, _, _ in s} for s in TRUTHS])
    assert run(Oracle(), folder, classifier=wrong, top=1)["localization/mAP"] == pytest.approx(0)


def test_videos_that_a_classifier_does_not_know_are_counted(folder, tmp_path):
    classes = [{c for c, _, _ in segments} for segments in TRUTHS]
    known = write_classifier(tmp_path / "some.json", classes[:15])
    predictions = tmp_path / "predictions.json"
    metrics = run(Oracle(), folder, classifier=known, predictions=str(predictions))
    assert metrics["localization/unknown_to_classifier_fraction"] == pytest.approx((COUNT - 15) / COUNT)
    assert set(read_submission(predictions).videos) == {f"v_{n}" for n in range(15)}


def test_predictions_score_the_same_by_the_official_definition(folder, tmp_path, capsys):
    predictions, truth = tmp_path / "predictions.json", tmp_path / "truth.json"
    metrics = run(Oracle(noise=25.0), folder, predictions=str(predictions))
    assert 0.05 < metrics["localization/mAP"] < metrics["localization/mAP_50"] < 0.95
    database = {
        f"v_{number}": {
            "subset": "validation",
            "annotations": [
                {"label": CLASSES[c], "segment": [a * duration / STEPS, b * duration / STEPS]} for c, a, b in segments
            ],
        }
        for number, (segments, duration) in enumerate(zip(TRUTHS, DURATIONS, strict=True))
    }
    truth.write_text(json.dumps({"database": database}))
    assert main(["score", "localization", f"--ground-truth={truth}", f"--predictions={predictions}"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert scored["average_mAP"] == pytest.approx(100 * metrics["localization/mAP"])
    for threshold in ("50", "75", "95"):
        assert scored["mAP"][f"0.{threshold}"] == pytest.approx(100 * metrics[f"localization/mAP_{threshold}"])
    assert scored["videos_without_prediction"] == 0


def suppressed(proposals, sigma):
    """Soft-NMS one after the other: (start, end, score) of proposals [N, 3]."""
    waiting, kept = [list(row) for row in proposals], []
    while waiting and len(kept) < 100:
        best = max(waiting, key=lambda row: row[2])
        waiting.remove(best)
        kept.append(tuple(best))
        for row in waiting:
            common = max(0.0, min(row[1], best[1]) - max(row[0], best[0]))
            row[2] *= np.exp(-((common / (row[1] - row[0] + best[1] - best[0] - common)) ** 2) / sigma)
    return kept


def test_predictions_are_the_proposals_after_suppression_times_the_class(folder, tmp_path):
    predictions = tmp_path / "predictions.json"
    classifier = write_classifier(tmp_path / "right.json", [{c for c, _, _ in segments} for segments in TRUTHS])
    run(Oracle(noise=25.0), folder, classifier=classifier, sigma=0.3, top=1, predictions=str(predictions))
    written = json.loads(predictions.read_text())["results"]
    rows = np.arange(BATCH, dtype=np.float32)[:, None, None] * np.ones((1, STEPS, WIDTH), np.float32)
    outputs = Oracle(noise=25.0).call(None, rows)
    for row in range(BATCH):
        of_video = propose(
            outputs.start[row], outputs.end[row], outputs.scores[row], DURATIONS[row], outputs.valid[row]
        )
        expected = suppressed(of_video, 0.3)
        found = [(*entry["segment"], entry["score"]) for entry in written[f"v_{row}"]]
        np.testing.assert_allclose(found, [(start, end, 0.5 * score) for start, end, score in expected], rtol=1e-6)
        assert {entry["label"] for entry in written[f"v_{row}"]} == {CLASSES[min(c for c, _, _ in TRUTHS[row])]}


def test_a_label_without_times_is_of_the_whole_video(tmp_path):
    name = "whole"
    np.save(tmp_path / file_name(name), np.zeros((4, WIDTH), np.float32))
    video = VideoFeatures(name, file_name(name), 12.0, (Action("rest"),))
    write_index(tmp_path, FeatureIndex(1.0, 3.0, 0.0, WIDTH, CLASSES, (video,), {}))

    class Whole(Oracle):
        def call(self, function, features):
            outputs = super().call(function, features)
            start, end, scores, classes = (
                np.full_like(x, -SURE) for x in (outputs.start, outputs.end, outputs.scores, outputs.classes)
            )
            start[:, 0] = end[:, -1] = scores[:, :, 0, -1] = classes[:, :, 1] = SURE
            return dataclasses.replace(outputs, start=start, end=end, scores=scores, classes=classes)

    assert run(Whole(), tmp_path, prefix="x") == {k.replace("localization", "x"): v for k, v in PERFECT.items()}


def test_features_of_another_width_are_refused(tmp_path):
    write_model_directory(tmp_path, width=WIDTH + 1)
    with pytest.raises(ConfigError, match="features of width 6 .* the model takes 5: embed both splits by the same"):
        LocalizationEvaluator(LocalizationOptions(features=str(tmp_path)), make_config())


def test_features_without_segments_are_refused(tmp_path):
    write_model_directory(tmp_path, actions=False)
    with pytest.raises(EvaluationError, match="no video with a labeled segment"):
        run(Oracle(), tmp_path)


def test_somebody_has_to_name_the_actions(folder):
    with pytest.raises(ConfigError, match="name a classifier, or set config.model.localization.classify"):
        LocalizationEvaluator(LocalizationOptions(features=folder), make_config(classify=False))


def test_another_task_and_a_missing_folder_are_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match="needs config.task='localization', which is 'video_text'"):
        LocalizationEvaluator(
            LocalizationOptions(features=folder), dataclasses.replace(make_config(), task="video_text")
        )
    with pytest.raises(FeatureError, match="expected a folder that `svilm extract-features` wrote"):
        LocalizationEvaluator(LocalizationOptions(features=str(tmp_path)), make_config())


class Uncompiled:
    """In place of an encoder: calls the function with a localizer that is sure of the truth, or of its opposite."""

    def __init__(self, sign):
        self.sign, self.batches = sign, []

    def call(self, function, batch):
        self.batches.append(batch["valid"].tolist())
        outputs = Oracle(classes=False).call(None, batch["features"])
        iou = np.clip(batch["iou"], 1e-6, 1 - 1e-6)
        scores = np.stack([np.log(iou / (1 - iou)), np.where(iou > 0.9, SURE, -SURE)], axis=1)
        start, end = (np.where(batch[name] > 0.5, SURE, -SURE) for name in ("start", "end"))
        maps = [self.sign * x for x in (start, end, scores)]
        return function(lambda features: LocalizationOutputs(*maps, outputs.valid, None), batch)


def test_the_loss_is_low_where_the_localizer_is_right(folder):
    config = dataclasses.replace(make_config(classify=False), objectives={"localization": {"weight": 1.0}})
    losses = {}
    for sign in (1, -1):
        encoder = Uncompiled(sign)
        evaluator = LocalizationLossEvaluator(LocalizationLossOptions(features=folder), config)
        losses[sign] = scalars(evaluator.run(encoder))["localization/loss"]
        assert encoder.batches == [[True] * BATCH, [True] * 3 + [False] * (BATCH - 3)]
    assert losses[1] < 0.1 < 10 < losses[-1]
    with pytest.raises(ConfigError, match="needs config.task='localization'"):
        LocalizationLossEvaluator(LocalizationLossOptions(features=folder), Config())
