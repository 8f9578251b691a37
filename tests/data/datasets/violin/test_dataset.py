"""Tests of the VIOLIN statements, true and false, and of rejected files."""

import pytest
from svilm_data.datasets.violin import DATASET
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Question
from tests.data.official_cases import read, write

ROW = {
    "paired_id": "friends_s01e16_clip_910_940-0-0",
    "vid_name": "friends_s01e16_clip_910_940",
    "statement": "The man  leaves. ",
    "example_id": 1,
    "answer": 1,
}
FALSE = ROW | {"paired_id": "friends_s01e16_clip_910_940-0-1", "statement": "The man stays.", "answer": 0}


def small(folder, *rows, name="violin_val_release.jsonl"):
    write(folder, name, rows)
    return folder


def test_half_of_the_official_statements_about_a_clip_are_true(read_official):
    for wanted in read_official("violin").splits["test"]:
        answers = [question.answer for question in wanted.record.questions]
        assert (answers.count("true"), answers.count("false")) == (3, 3)


def test_small_files(tmp_path):
    again = ROW | {"paired_id": "x", "answer": 0}
    test = {name: value for name, value in ROW.items() if name != "answer"} | {"vid_name": "gt3_clip_000_040"}
    small(tmp_path, test, name="violin_test_release.jsonl")
    some = read(DATASET, small(tmp_path, ROW, FALSE, again))
    (wanted,) = some.splits["validation"]
    assert wanted.record.group == "friends_s01e16"
    assert wanted.record.questions == (
        Question("The man leaves.", "true", "statement"),
        Question("The man stays.", "false", "statement"),
        Question("The man leaves.", "false", "statement"),
    )
    assert some.notes["validation: statements both true and false for the same clip"] == "1; kept"
    assert some.splits["test"][0].record.questions == (Question("The man leaves.", "", "statement"),)
    assert some.notes["test: statements without an answer"] == "1; stored with an empty answer"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"paired_id": 3}, r"field 'paired_id': expected str, got 3"),
        ({"paired_id": FALSE["paired_id"]}, r"field 'paired_id': '.*' occurs twice in this file"),
        ({"statement": ""}, r"expected a sentence, got ''"),
        ({"answer": 2}, r"field 'answer': expected 0 or 1, got 2"),
        ({"answer": True}, r"field 'answer': expected int, got True"),
        ({"vid_name": None}, r"field 'vid_name': expected str"),
    ],
)
def test_what_does_not_fit_is_refused_by_file_and_line(tmp_path, changed, message):
    with pytest.raises(PreparationError, match=r"violin_val_release\.jsonl: line 2.*" + message):
        read(DATASET, small(tmp_path, FALSE, ROW | changed))


def test_wrong_files_are_refused(tmp_path):
    small(tmp_path, ROW)
    with pytest.raises(PreparationError, match="is in split validation and in split test"):
        read(DATASET, small(tmp_path, ROW, name="violin_test_release.jsonl"))
