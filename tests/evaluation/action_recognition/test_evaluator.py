"""Tests of action recognition: labels read from the mean over views, with every labeled video counted."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from svilm_jax.config import ConfigError, HeadConfig
from svilm_jax.evaluation.action_recognition.evaluator import ActionOptions, ActionRecognitionEvaluator
from svilm_jax.evaluation.clips import EvaluationError
from svilm_jax.evaluation.metric import scalars
from svilm_jax.inference.encoder import Encoder
from svilm_jax.input.multi_view import load_views
from svilm_jax.input.records import open_records
from svilm_jax.input.schema import Action, Record
from tests.evaluation import colored_squares as world

CLASSES = ("red", "green", "blue", "yellow", "gray", "none")


class Headed(world.ColorReader):
    """Scores a color by how much of the clip it fills, and puts `none` last."""

    def head(self, tokens):
        filled = tokens.mean(axis=(1, 2))  # [B, M]
        return 5 * jnp.pad(filled, ((0, 0), (0, 1)), constant_values=-1.0)


def wide(name, *actions, seed):
    """A broad video of stripes whose colors change with place and time: no two views of it are alike."""
    rng = np.random.default_rng(seed)
    colors = np.array(list(world.PALETTE.values()), np.uint8)
    shown = colors[rng.integers(len(colors), size=(8, 1, 12))]  # [8, 1, 12, 3]
    frames = shown.repeat(2, axis=0).repeat(32, axis=1).repeat(8, axis=2)  # [16, 32, 96, 3]
    return Record(id=name, video=world.encode(frames), actions=tuple(Action(*action) for action in actions))


def plain(name, color, *labels, broken=False):
    video = np.full((16, 32, 32, 3), world.PALETTE[color], np.uint8)
    return Record(
        id=name,
        video=b"no video" if broken else world.encode(video),
        actions=tuple(Action(label) for label in labels),
    )


SPLITS = {
    "test": [
        plain("r", "red", "red"),
        plain("b", "blue", "red"),
        plain("unlabeled", "blue"),
        plain("broken", "green", "green", broken=True),
        plain("g", "green", "green"),
        plain("n", "yellow", "none"),
    ],
    "wide": [wide(f"w{i}", (CLASSES[i % 5],), seed=i) for i in range(12)],
    "timed": [
        dataclasses.replace(
            world.untrimmed("u", ("red", 12), ("blue", 8), ("green", 16), cuts=(1.5, 2.5)),
            actions=(Action("red", 0.0, 1.5), Action("green", 1.5, 2.5), Action("green", 2.5, 4.5)),
        )
    ],
    "none": [plain("x", "red")],
    "strange": [plain("x", "red", "pink")],
    "lost": [plain("x", "red", "red", broken=True)],
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    config = world.make_config(world.write_dataset(tmp_path_factory.mktemp("acted"), SPLITS))
    head = HeadConfig(CLASSES)
    return dataclasses.replace(config, task="action_recognition", model=dataclasses.replace(config.model, head=head))


@pytest.fixture(scope="module")
def reader(config, squares_tokenizer):
    return Encoder(Headed(), config, squares_tokenizer, batch_size=4)


def run(config, encoder, **options):
    return scalars(ActionRecognitionEvaluator(ActionOptions(**options), config).run(encoder))


def test_metrics_are_those_counted_by_hand(config, reader, caplog):
    # Of five labeled videos r and g are right, b is not, `none` is sixth of six, and one does not decode.
    assert run(config, reader, clips=1, crops=1) == {
        "action/top1": pytest.approx(2 / 5),
        "action/top5": pytest.approx(3 / 5),
        "action/top1_majority": pytest.approx(2 / 5),
        "action/failed_fraction": pytest.approx(1 / 5),
    }
    assert "broken" in caplog.text


def test_top5_of_a_few_classes_is_all_of_them(config, squares_tokenizer):
    few = dataclasses.replace(config, model=dataclasses.replace(config.model, head=HeadConfig(CLASSES[:3])))

    class Three(Headed):
        def head(self, tokens):
            return super().head(tokens)[:, :3]

    encoder = Encoder(Three(), few, squares_tokenizer, batch_size=4)
    assert run(few, encoder, limit=2, clips=1, crops=1, prefix="few") == {
        "few/top1": 0.5,
        "few/top5": 1.0,
        "few/top1_majority": 1.0,
        "few/failed_fraction": 0.0,
    }


@pytest.mark.parametrize(("clips", "crops"), [(1, 1), (2, 3), (4, 1)])
def test_views_are_averaged_as_one_by_one(config, reader, clips, crops):
    model, right = Headed(), []
    for record in open_records(config.input.dataset, "wide"):
        views = load_views(record, config.model.video, clips, crops)
        outputs = model.encode_video(views)
        mean = jax.nn.softmax(model.head(outputs.tokens), axis=1).mean(axis=0)
        right.append(CLASSES[int(mean.argmax())] == record.actions[0].label)
    metrics = run(config, reader, split="wide", clips=clips, crops=crops)
    assert metrics["action/top1"] == pytest.approx(np.mean(right))
    assert 0 < np.mean(right) < 1


class Told:
    """In place of an encoder: scores from a list, whatever the clips show, some clips ahead of what is asked."""

    def __init__(self, config, scores):
        self.config, self.scores = config, scores

    def videos(self, clips, read):
        assert read == ("scores",)
        taken = len(list(clips))
        assert taken == len(self.scores)
        yield from ({"scores": np.array(row, np.float32)} for row in self.scores)


def test_probabilities_are_averaged_and_not_scores(config):
    views = np.array([[0, 9, 0, 0, 0, 0], [0, 9, 0, 0, 0, 0], [9, -99, 9.1, 0, 0, 0], [9, -99, 9.1, 0, 0, 0]])
    assert CLASSES[jax.nn.softmax(views, axis=1).mean(axis=0).argmax()] == "green"
    assert CLASSES[views.mean(axis=0).argmax()] == CLASSES[views[-1].argmax()] == "blue"
    other = [[0, 0, 0, 9, 0, 0]] * 4
    # Of r, b, g and n, which decode, g is green and nothing is yellow.
    told = Told(config, [*other, *other, *views, *other])
    assert run(config, told, clips=2, crops=2)["action/top1"] == pytest.approx(1 / 5)


def test_the_fifth_of_six_counts_in_top5_and_the_sixth_does_not(config):
    rows = [[1, 9, 8, 7, 6, 0], [0, 9, 8, 7, 6, 1], [0, 9, 8, 7, 6, 1], [9, 8, 7, 6, 0, 1]]  # of r, b, g and n
    metrics = run(config, Told(config, rows), clips=1, crops=1)
    assert metrics["action/top1"] == pytest.approx(1 / 5)
    assert metrics["action/top5"] == pytest.approx(3 / 5)


def test_every_timed_action_is_an_item_of_its_own_window(config, reader):
    # The second is called green and shows blue.
    metrics = run(config, reader, split="timed", clips=2, crops=1)
    assert metrics["action/top1"] == pytest.approx(2 / 3)
    assert metrics["action/top1_majority"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("none", "'none': no video with an action label"),
        ("strange", "'strange': x is 'pink', which is not a class"),
    ],
)
def test_labels_that_cannot_be_scored_are_told_before_anything_runs(config, split, message):
    with pytest.raises(EvaluationError, match=message):
        ActionRecognitionEvaluator(ActionOptions(split=split), config)


def test_a_split_of_which_nothing_decodes_is_an_error(config, reader):
    with pytest.raises(EvaluationError, match="'lost': no labeled video that can be decoded"):
        run(config, reader, split="lost")


def test_mistakes_in_the_config_are_named(config):
    without = dataclasses.replace(config, task="video_text")
    with pytest.raises(ConfigError, match="needs config.task='action_recognition', not 'video_text'"):
        ActionRecognitionEvaluator(ActionOptions(), without)
