"""Tests of classification labels: indices as listed by the dataset, and unlabeled told apart from missing."""

import json

import numpy as np
import pytest

from svilm_jax.config import ConfigError
from svilm_jax.input.labels import UNKNOWN, check_task, choose_action, choose_question, numbered, read_classes
from svilm_jax.input.records import DatasetError
from svilm_jax.input.schema import Action, Question, Record

ANSWERING, CLASSIFYING = "question_answering", "action_recognition"


@pytest.fixture
def prepared(tmp_path):
    """OUT/NAME with labels, and answers of which the most frequent comes first."""
    folder = tmp_path / "name"
    (folder / "1.0.0").mkdir(parents=True)
    (folder / "1.0.0" / "dataset_info.json").touch()
    (folder / "labels.json").write_text(json.dumps(["run", "jump", "añadir"], ensure_ascii=False), encoding="utf-8")
    (folder / "answers.json").write_text(json.dumps([["two", 7], ["dog", 3], ["cat", 3]]))
    return folder


@pytest.mark.parametrize("version", ["", "1.0.0"])
def test_classes_as_listed_beside_the_records(prepared, version):
    assert read_classes(prepared / version, ANSWERING) == ("two", "dog", "cat")
    assert read_classes(prepared / version, CLASSIFYING) == ("run", "jump", "añadir")
    assert read_classes(prepared / version, ANSWERING, max_classes=2) == ("two", "dog")
    (prepared / "1.0.0" / "labels.json").write_text('["of this version"]')
    assert read_classes(prepared / version, CLASSIFYING) == ("of this version",)


@pytest.mark.parametrize(
    ("task", "name", "what"),
    [(ANSWERING, "answers.json", "answers of training questions"), (CLASSIFYING, "labels.json", "action labels")],
)
def test_a_dataset_without_classes_or_with_damaged_ones_is_named(prepared, task, name, what):
    for damage in ("[[", "3", "[[]]" if task is ANSWERING else "null", '[{"a": 1}]' if task is ANSWERING else "7"):
        (prepared / name).write_text(damage)
        with pytest.raises(DatasetError, match=rf"{name}: cannot be read .*prepare the dataset again"):
            read_classes(prepared, task)
    (prepared / name).unlink()
    with pytest.raises(DatasetError, match=rf"name: lists no {what} \({name}\)"):
        read_classes(prepared, task)


@pytest.mark.parametrize("task", [ANSWERING, CLASSIFYING])
def test_tasks_without_classes_are_refused(task):
    with pytest.raises(
        ConfigError, match=rf"^config\.model\.head\.classes=\(\): config\.task='{task}' needs those of the dataset"
    ):
        check_task(task, ())


def test_tasks_that_can_be():
    for task, classes in (("video_text", ()), (ANSWERING, ("a",)), (CLASSIFYING, ("a",))):
        check_task(task, classes)


QUESTIONS = tuple(Question(f"question {answer}?", answer) for answer in ("rare", "two", "dog", "odd"))
ACTIONS = tuple(Action(label) for label in ("rare", "two", "dog", "odd"))


@pytest.mark.parametrize(
    ("choose", "field", "told"), [(choose_question, "questions", QUESTIONS), (choose_action, "actions", ACTIONS)]
)
def test_only_what_has_a_number_is_chosen_where_there_is_any(choose, field, told):
    numbers = numbered(("two", "dog"))
    record = Record("clip", b"", **{field: told})
    rng = np.random.default_rng(0)
    drawn = {choose(record, numbers, rng) for _ in range(40)}
    assert drawn == {(told[1], 0), (told[2], 1)}
    assert choose(record, numbers, None) == (told[1], 0)
    unknown = {choose(record, numbered(("none of them",)), rng) for _ in range(80)}
    assert unknown == {(item, UNKNOWN) for item in told}
    assert choose(Record("clip", b""), numbers, rng) == (None, UNKNOWN)
