"""Tests of the question-answering evaluator: unanswerable questions count, and each question gets its own clip."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from svilm_jax.config import ConfigError, HeadConfig
from svilm_jax.evaluation.clips import EvaluationError
from svilm_jax.evaluation.metric import scalars
from svilm_jax.evaluation.question_answering.evaluator import QuestionAnsweringEvaluator, QuestionOptions
from svilm_jax.inference.encoder import Encoder
from svilm_jax.input.schema import Question
from svilm_jax.main import main
from svilm_jax.models.svilm import build_model
from svilm_jax.text.tokenizers import load_tokenizer
from tests.evaluation import colored_squares as world
from tests.tiny import tiny_config

CLASSES = tuple(color for color in world.PALETTE if color)  # red, the first, is the most frequent in training


class Answerer(world.ColorReader):
    """Names the color of the clip, or, asked for what is left of it, the one before it in the palette."""

    def encode_question(self, video, tokens, mask):
        left = ((tokens == world.WORDS.index("left")) & mask).any(axis=1)  # [Q]
        seen = video.embedding[:, : len(CLASSES)]
        return jnp.where(left[:, None], jnp.roll(seen, -1, axis=1), seen)


def asked(name, color, *questions, broken=False):
    clip = world.record(name, (color, 0, 0), broken=broken)
    return dataclasses.replace(clip, questions=tuple(Question(*question) for question in questions))


ROWS = [
    asked(
        "r",
        "red",
        ("what square", "red"),
        ("what square left", "yellow"),
        ("is a square left", "", "yes/no"),  # its answer is not published
        ("how", "red", "how many"),
        ("what square", "pink"),  # no answer of training
    ),
    asked("silent", "blue"),
    asked("secret", "blue", ("what square", "")),
    asked("b", "blue", ("what square left", "green"), ("who left", "blue", "yes/no")),
    asked("broken", "green", ("what square", "green"), ("how square", "red", "how many"), broken=True),
    asked("y", "yellow", ("what square", "yellow")),
]
# (id, kind, right answer, what Answerer says), counted through by hand.
COUNTED = [
    ("r:0", "what", "red", "red"),
    ("r:1", "what", "yellow", "yellow"),
    ("r:2", "how many", "red", "red"),
    ("r:3", "what", "pink", "red"),
    ("b:0", "what", "green", "green"),
    ("b:1", "yes/no", "blue", "green"),
    ("broken:0", "what", "green", ""),
    ("broken:1", "how many", "red", ""),
    ("y:0", "what", "yellow", "yellow"),
]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    dataset = world.write_dataset(tmp_path_factory.mktemp("asked"), {"test": ROWS, "dumb": [ROWS[1], ROWS[2]]})
    config = world.make_config(dataset)
    head = HeadConfig(CLASSES)
    return dataclasses.replace(config, task="question_answering", model=dataclasses.replace(config.model, head=head))


@pytest.fixture(scope="module")
def answerer(config, squares_tokenizer):
    return Encoder(Answerer(), config, squares_tokenizer, batch_size=2)


def test_all_metrics_are_those_counted_by_hand(config, answerer, tmp_path, caplog):
    options = QuestionOptions(predictions=str(tmp_path / "answers.json"))
    metrics = scalars(QuestionAnsweringEvaluator(options, config).run(answerer))
    assert metrics == {
        "qa/accuracy": pytest.approx(5 / 9),
        "qa/accuracy_what": pytest.approx(4 / 6),
        "qa/accuracy_how_many": pytest.approx(1 / 2),
        "qa/accuracy_yes_no": 0.0,
        "qa/accuracy_majority": pytest.approx(3 / 9),  # red, wherever it is right
        # The most frequent of "what" is yellow or green, twice each, of "how many" red, of "yes/no" blue.
        "qa/accuracy_majority_by_kind": pytest.approx((2 + 2 + 1) / 9),
        "qa/out_of_vocabulary_fraction": pytest.approx(1 / 9),
        "qa/failed_fraction": pytest.approx(1 / 6),
    }
    assert "2 questions left out" in caplog.text
    assert "broken" in caplog.text
    rows = json.loads((tmp_path / "answers.json").read_text())
    assert [(row["id"], row["answer"]) for row in rows] == [(name, said) for name, _, _, said in COUNTED]


def test_the_file_of_answers_scores_the_same(config, answerer, tmp_path, capsys):
    files = {name: tmp_path / f"{name}.json" for name in ("truth", "answers")}
    metrics = scalars(
        QuestionAnsweringEvaluator(QuestionOptions(predictions=str(files["answers"])), config).run(answerer)
    )
    truth = [{"id": name, "answer": answer, "type": kind} for name, kind, answer, _ in COUNTED]
    files["truth"].write_text(json.dumps(truth))
    assert main(["score", "qa", f"--ground-truth={files['truth']}", f"--predictions={files['answers']}"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert scored["accuracy"] == pytest.approx(100 * metrics["qa/accuracy"])
    assert scored["by_kind"]["how many"] == {"accuracy": 50.0, "questions": 2}


def test_limit_and_prefix(config, answerer):
    metrics = scalars(QuestionAnsweringEvaluator(QuestionOptions(limit=2, prefix="val"), config).run(answerer))
    assert metrics["val/accuracy"] == pytest.approx(3 / 4)
    assert metrics["val/failed_fraction"] == 0.0


def test_a_split_without_answers_and_a_model_without_the_head_are_refused(config, answerer):
    with pytest.raises(EvaluationError, match="'dumb': no question"):
        scalars(QuestionAnsweringEvaluator(QuestionOptions(split="dumb"), config).run(answerer))
    without = dataclasses.replace(config, task="video_text")
    with pytest.raises(ConfigError, match="needs config.task='question_answering', not 'video_text'"):
        QuestionAnsweringEvaluator(QuestionOptions(), without)


COUNTS = (2, 0, 1, 7, 0, 3, 0)  # questions of the clips; whole batches without one among them
WORDS = ["what", "does", "the", "red", "circle", "square", "do", "background"]


@pytest.fixture(scope="module")
def asking():
    """A tiny real model, clips, questions, and what the model says to each pair alone."""
    head = {
        "task": "question_answering",
        "model.head.classes": ("yes", "no", "red"),
        "model.head.num_layers": 1,
    }
    config = tiny_config(**head, **{"model.video.num_layers": 1, "model.grouping.after_layers": (1,)})
    tokenizer = load_tokenizer(config.tokenizer.path)
    model = build_model(config, tokenizer.vocab_size, 3)
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (len(COUNTS), 8, 16, 16, 3), dtype=np.uint8)
    questions = [[" ".join(rng.choice(WORDS, 1 + rng.integers(5))) for _ in range(count)] for count in COUNTS]
    graphdef, state = nnx.split(model)

    @jax.jit
    def one(state, clip, tokens, mask):
        model = nnx.merge(graphdef, state)
        return model.encode_question(model.encode_video(clip[None]), tokens, mask)[0]

    alone = []
    for clip, own in zip(clips, questions, strict=True):
        tokens = tokenizer.encode(own, config.model.text.max_length)[:, None] if own else []
        alone.append(np.array([one(state, clip, row, tokenizer.mask(row)) for row in tokens]).reshape(-1, 3))
    return config, tokenizer, model, clips, questions, alone


@pytest.mark.parametrize("batch_size", [2, 16])
def test_answers_are_the_models_own_whatever_the_batch(asking, batch_size):
    config, tokenizer, model, clips, questions, alone = asking
    encoder = Encoder(model, config, tokenizer, batch_size=batch_size)
    grown: list[list[str]] = []  # as the evaluator does: a clip's questions are known once it is decoded

    def frames():
        for clip, own in zip(clips, questions, strict=True):
            grown.append(own)
            yield clip

    answers = list(encoder.answers(frames(), grown))
    assert [scores.shape for scores in answers] == [(count, 3) for count in COUNTS]
    for scores, expected in zip(answers, alone, strict=True):
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_no_two_pairs_above_have_the_same_answer(asking):
    every = np.concatenate(asking[-1])
    apart = np.abs(every[:, None] - every).max(axis=-1)
    assert apart[~np.eye(len(every), dtype=bool)].min() > 1e-3


def test_no_clips_have_no_answers(asking):
    config, tokenizer, model, *_ = asking
    assert list(Encoder(model, config, tokenizer, batch_size=2).answers([], [])) == []
