"""Tests of the shortcut baselines: recall achievable from colors, or from colors and the background."""

import dataclasses

import numpy as np
import pytest

from svilm_jax.evaluation.retrieval import shortcut_baselines
from svilm_jax.input.schema import Caption, Question, Record, SceneObject


def clip(caption, *phrases, answer=""):
    return Record(
        id=caption,
        video=b"",
        captions=(Caption(caption),),
        objects=tuple(SceneObject(phrase, i + 1) for i, phrase in enumerate(phrases)),
        questions=(Question("what is the floor like?", answer),) if answer else (),
    )


def recall(records, read_background):
    captions = [record.captions[0].text for record in records]
    return shortcut_baselines.oracle_recall_at_1(
        captions, np.arange(len(records)), records, read_background=read_background
    )


def test_words_are_whole_words():
    assert shortcut_baselines.color_words("A red disc, bored, over the Blue-green floor") == ("red", "blue", "green")
    assert shortcut_baselines.background_words("a striped floor and stripes") == {"striped"}


def test_distinct_colors_are_always_found():
    records = [clip("a red square spins", "a red square"), clip("a blue square spins", "a blue square")]
    assert recall(records, read_background=False) == 1.0


def test_ties_are_shared():
    records = [clip(f"a red {shape} spins", f"a red {shape}") for shape in ("square", "circle", "ring", "star")]
    assert recall(records, read_background=False) == 0.25
    assert recall(records, read_background=True) == 0.25


def test_the_background_tells_only_the_oracle_that_reads_it():
    records = [
        clip("a red ring spins on a striped floor", "a red ring"),
        clip("a red disc spins on a dotted floor", "a red disc"),
    ]
    assert recall(records, read_background=False) == 0.5
    assert recall(records, read_background=True) == 1.0


def test_the_background_of_a_clip_may_be_known_from_an_answer_only():
    records = [
        clip("a red ring spins on a striped floor", "a red ring"),
        clip("a red disc spins", "a red disc", answer="striped"),
    ]
    # The first caption fits both; the second names no background, so that both fit again.
    assert recall(records, read_background=True) == 0.5


def test_what_is_said_of_one_look_alike_holds_for_its_group():
    records = [
        clip("a red ring spins on a striped floor", "a red ring"),
        clip("a red disc spins", "a red disc"),
        clip("a red star spins on a striped wall", "a red star"),
    ]
    assert recall(records, read_background=True) == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 3)
    alike = [dataclasses.replace(record, group="0") for record in records]
    assert recall(alike, read_background=True) == pytest.approx(1 / 3)


def test_repeated_colors_count():
    records = [
        clip("a red ring and a red disc spin", "a red ring", "a red disc"),
        clip("a red star spins", "a red star"),
    ]
    assert recall(records, read_background=False) == 1.0


def test_an_object_left_out_of_its_caption_can_mislead():
    records = [
        clip("a red ring spins", "a red ring", "a blue disc"),
        clip("a red star spins", "a red star"),
    ]
    # "red" alone fits the second clip better, for both captions.
    assert recall(records, read_background=False) == 0.5


def test_a_colored_background_is_no_object():
    records = [
        clip("a red ring spins over a blue wall", "a red ring"),
        clip("a red star and a blue disc spin", "a red star", "a blue disc"),
    ]
    assert recall(records, read_background=False) == 1.0


def test_sets_are_galleries_of_their_own():
    records = [clip(f"a red {shape} spins", f"a red {shape}") for shape in ("square", "circle", "ring", "star")]
    captions = [record.captions[0].text for record in records]
    sets = [np.array([0, 3]), np.array([1, 2])]
    recalls = shortcut_baselines.oracle_recalls(captions, np.arange(4), records, sets)
    assert recalls == {
        "oracle_colors": pytest.approx(0.5),
        "oracle": pytest.approx(0.5),
    }


@pytest.mark.parametrize(
    "records",
    [
        [clip("a dog runs", "a dog"), clip("a cat sleeps", "a cat")],
        [clip("a red dog runs"), clip("a black cat sleeps")],
    ],
)
def test_without_colors_or_annotated_objects_there_is_no_oracle(records):
    captions = [record.captions[0].text for record in records]
    assert shortcut_baselines.oracle_recalls(captions, np.arange(2), records, [np.arange(2)]) == {}
