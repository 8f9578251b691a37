"""Tests of training examples: frames, texts and labels belong together for every task."""

import functools

import numpy as np
import pytest

from svilm_jax.config import InputConfig, TextConfig, VideoConfig
from svilm_jax.input.clips import decode_clip
from svilm_jax.input.example import ClipLoader
from svilm_jax.input.labels import UNKNOWN
from svilm_jax.input.schema import Action, Caption, Question, Record
from svilm_jax.text.tokenizers import load_tokenizer
from svilm_jax.video.decoding import VideoError
from tests.video.encoded_videos import encode, numbered_frames, numbers

VIDEO = VideoConfig(num_frames=4, image_size=32)
TEXT = TextConfig(max_length=16, phrase_length=10)
TOKENIZER = load_tokenizer("builtin:moving_shapes")
EPOCHS = 40

RED = Caption("a red square is rising", ("a red square",), 0.0, 0.5)
BLUE = Caption("a blue circle is sinking", ("a blue circle",), 0.5, 1.5)
GREEN = Caption("a green star is spinning", ("a green star", "a star"), 1.0, 9.0)
LEFT = Caption("a red square is sliding left", ("a red square",))
TIMED = (RED, BLUE, GREEN)


@functools.cache
def video():
    """Two seconds, 16 frames that carry their number."""
    return encode(numbered_frames(16))


def record(data=None, **told):
    return Record("clip", video() if data is None else data, **told)


def loader(told, classes=(), task="video_text", **options):
    options = {"random_crop": False, "flip": False, **options}
    return ClipLoader([told], InputConfig(**options), VIDEO, TEXT, TOKENIZER, 0, classes, task)


def rows(told, classes=(), epochs=EPOCHS, **options):
    load = loader(told, classes, **options)
    return [load(epoch, 0) for epoch in range(epochs)]


def decoded(ids):
    return [TOKENIZER.decode(row) for row in ids]


def seen(row):
    """Numbers of the frames of a row."""
    return numbers(row["video"])


TEXTS = {"text": ((16,), np.int32), "text_mask": ((16,), np.bool_)}
NOUNS = {"nouns": ((2, 10), np.int32), "noun_mask": ((2,), np.bool_)}
TARGET = {"target": ((), np.int32)}
SENTENCES = {
    "sentences": ((5, 16), np.int32),
    "sentence_mask": ((5,), np.bool_),
    "sentence_spans": ((5, 2), np.float32),
}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, TEXTS | NOUNS),
        ({"num_sentences": 5}, TEXTS | NOUNS | SENTENCES),
        ({"text": "paragraph"}, TEXTS | NOUNS),
        ({"text": "sentences", "num_sentences": 5}, NOUNS | SENTENCES),
        ({"task": "question_answering"}, TEXTS | TARGET),
        ({"task": "question_answering", "num_sentences": 5}, TEXTS | TARGET | SENTENCES),
        ({"task": "action_recognition"}, TARGET),
    ],
)
@pytest.mark.parametrize("usable", [True, False])
def test_a_task_has_the_same_arrays_for_any_record(options, expected, usable):
    told = record(captions=TIMED, questions=(Question("what?", "two"),), actions=(Action("two"),))
    row = loader(told if usable else record(b"broken" * 99), ("two",), **options)(0, 0)
    always = {"video": ((4, 32, 32, 3), np.uint8), "valid": ((), np.bool_), "index": ((), np.int64)}
    assert {name: (array.shape, array.dtype.type) for name, array in row.items()} == expected | always
    assert bool(row["valid"]) == usable


def test_a_question_goes_with_the_number_of_its_answer():
    asked = (
        Question("how many shapes are there", "two"),
        Question("what color is the star", "red"),
        Question("what shape is the red thing", "rare"),
    )
    made = rows(record(questions=asked), ("red", "two"), task="question_answering")
    pairs = {(TOKENIZER.decode(row["text"]), int(row["target"])) for row in made}
    assert pairs == {("how many shapes are there", 1), ("what color is the star", 0)}
    assert all(np.array_equal(row["text_mask"], row["text"] != TOKENIZER.pad_id) for row in made)


def test_a_question_of_unknown_answer_is_shown_and_one_without_question_is_not():
    load = loader(record(questions=(Question("what?", "rare"),)), ("two",), task="question_answering")
    row = load(0, 0)
    assert (int(row["target"]), bool(row["valid"])) == (UNKNOWN, True)
    bare = record(captions=TIMED)
    load = loader(bare, ("two",), task="question_answering")
    row = load(0, 0)
    assert (int(row["target"]), bool(row["valid"])) == (UNKNOWN, False)
    assert not row["video"].any()
    assert load.failure(bare) == "clip: has no question"


def test_an_action_is_seen_in_its_own_part():
    told = record(actions=(Action("jump", 0.0, 0.5), Action("run", 1.5, 2.0), Action("rare", 0.5, 1.5)))
    made = rows(told, ("run", "jump"), task="action_recognition")
    assert all(row["valid"] for row in made)
    parts = {int(row["target"]): (min(seen(row)), max(seen(row))) for row in made}
    assert parts == {0: (12, 15), 1: (0, 3)}


def test_an_action_without_a_number_is_left_out_and_named():
    for told, reason in (
        (record(actions=(Action("rare"),)), "has no action among the classes of the head"),
        (record(captions=TIMED), "has no action"),
    ):
        load = loader(told, ("run",), task="action_recognition")
        row = load(0, 0)
        assert not row["valid"]
        assert int(row["target"]) == UNKNOWN
        assert load.failure(told) == f"clip: {reason}"


@pytest.mark.parametrize(
    ("task", "told"),
    [
        ("video_text", {"captions": (RED, BLUE)}),
        ("action_recognition", {"actions": (Action("run"), Action("run", 0.5, 1.5))}),
    ],
)
def test_the_part_that_does_not_decode_is_found(monkeypatch, task, told):
    def decode(record, video, start=-1.0, end=-1.0, *more):
        if start == 0.5:
            raise VideoError("nothing there", record.id)
        return decode_clip(record, video, start, end, *more)

    monkeypatch.setattr("svilm_jax.input.example.decode_clip", decode)
    load = loader(record(**told), ("run",), task=task)
    assert {bool(load(epoch, 0)["valid"]) for epoch in range(EPOCHS)} == {True, False}
    assert load.failure(record(**told)) == "clip: nothing there"
    other = record(captions=TIMED, actions=(Action("run"),), questions=(Question("what?", "run"),))
    for another in ("action_recognition", "question_answering"):  # which never ask for that part
        assert loader(other, ("run",), task=another).failure(other) is None


def test_a_caption_is_seen_in_its_own_part_and_with_its_own_phrases():
    met = {RED.text: [], BLUE.text: []}
    for row in rows(record(captions=(RED, BLUE))):
        text = TOKENIZER.decode(row["text"])
        met[text] += seen(row)
        (phrase,) = RED.phrases if text == RED.text else BLUE.phrases
        assert decoded(row["nouns"]) == [f"a video of {phrase}", ""]
    assert set(met[RED.text]) == {0, 1, 2, 3}
    assert set(met[BLUE.text]) == set(range(4, 12))


def test_a_paragraph_is_all_captions_over_the_whole_video():
    made = rows(record(captions=(RED, BLUE)), text="paragraph", num_phrases=4)
    for row in made:
        assert TOKENIZER.decode(row["text"]) == f"{RED.text} {BLUE.text}"
        assert decoded(row["nouns"]) == ["a video of a red square", "a video of a blue circle", "", ""]
        assert row["noun_mask"].tolist() == [True, True, False, False]
        assert seen(row)[0] < 4
        assert seen(row)[-1] >= 12


@pytest.mark.parametrize("text", ["caption", "paragraph", "sentences"])
def test_of_more_captions_than_fit_some_come_in_order(text):
    made = rows(record(captions=TIMED), text=text, num_sentences=2)
    texts = [caption.text for caption in TIMED]
    chosen = {tuple(texts.index(sentence) for sentence in decoded(row["sentences"])) for row in made}
    assert chosen == {(0, 1), (0, 2), (1, 2)}
    for row in made:
        assert row["sentence_mask"].all()
        assert seen(row)[0] < 4  # the whole video, whatever the times of a caption
        assert seen(row)[-1] >= 12


def test_sentences_can_be_clauses_of_the_caption():
    caption = Caption("a red square slides, then a blue circle turns and then one thing stops", (), 0.5, 1.5)
    for row in rows(record(captions=(caption,)), sentences="clauses", num_sentences=3):
        assert decoded(row["sentences"]) == ["a red square slides", "a blue circle turns", "one thing stops"]
        assert (row["sentence_spans"] == -1).all()
        assert seen(row)[0] >= 4  # the part of the video that the caption describes
        assert seen(row)[-1] < 13


def test_a_question_and_its_answer_are_a_sentence():
    asked = record(captions=TIMED, questions=(Question("what color is the star", "red"),))
    options = {"task": "question_answering", "sentences": "question", "num_sentences": 2}
    row = loader(asked, ("red",), **options)(0, 0)
    assert decoded(row["sentences"]) == ["what color is the star red", ""]
    assert row["sentence_mask"].tolist() == [True, False]
    assert TOKENIZER.decode(row["text"]) == "what color is the star"  # the head does not see the answer


def test_phrases_of_sentences_are_of_the_chosen_ones():
    for row in rows(record(captions=TIMED), text="sentences", num_sentences=1, num_phrases=2):
        of = {c.text: [f"a video of {phrase}" for phrase in c.phrases] for c in TIMED}
        assert decoded(row["nouns"][row["noun_mask"]]) == of[TOKENIZER.decode(row["sentences"][0])]


def test_spans_are_shares_of_the_video_and_missing_sentences_are_nothing():
    untimed = Caption("one thing")
    opened = Caption("two things", (), 1.5, -1.0)
    row = loader(record(captions=(*TIMED, untimed, opened)), text="sentences", num_sentences=7)(0, 0)
    # Of two seconds; the third ends after the video, the last says no end.
    spans = [[0, 0.25], [0.25, 0.75], [0.5, 1], [-1, -1], [0.75, 1], [-1, -1], [-1, -1]]
    np.testing.assert_allclose(row["sentence_spans"], spans, atol=1e-3)
    assert row["sentence_mask"].tolist() == [True] * 5 + [False] * 2
    assert (row["sentences"][5:] == TOKENIZER.pad_id).all()
    assert (row["sentences"][:5] != TOKENIZER.pad_id).any(axis=1).all()


def test_a_broken_video_has_no_sentences():
    broken = record(b"broken" * 99, captions=TIMED)
    load = loader(broken, text="sentences", num_sentences=4)
    row = load(0, 0)
    assert not row["valid"]
    assert not row["sentence_mask"].any()
    assert not row["noun_mask"].any()
    assert (row["sentence_spans"] == -1).all()
    assert (row["sentences"] == TOKENIZER.pad_id).all()
    assert "cannot be read" in load.failure(broken)


@pytest.mark.parametrize(
    ("told", "options", "mirrored"),
    [
        ({"captions": (RED,)}, {}, True),
        ({"captions": (LEFT,)}, {}, False),
        ({"captions": (RED, LEFT)}, {"text": "paragraph"}, False),
        ({"captions": (RED, LEFT)}, {"text": "sentences", "num_sentences": 2}, False),
        ({"captions": (RED, LEFT)}, {"num_sentences": 2}, False),
        ({"questions": (Question("what does the square do?", "rises"),)}, {"task": "question_answering"}, True),
        ({"questions": (Question("what does the square do?", "slides left"),)}, {"task": "question_answering"}, False),
        ({"questions": (Question("what is on the left?", "a star"),)}, {"task": "question_answering"}, False),
        ({"actions": (Action("rises"),)}, {"task": "action_recognition"}, True),
        ({"actions": (Action("slides left"),)}, {"task": "action_recognition"}, False),
    ],
)
def test_nothing_that_speaks_of_sides_is_mirrored(told, options, mirrored):
    made = rows(record(**told), ("rises", "slides left"), epochs=20, flip=True, **options)
    # The red corner is on the left, unless mirrored.
    flips = [bool(row["video"][0, 3, -9:, 0].max() > 150) for row in made]
    assert any(flips) == mirrored
    assert not all(flips)
