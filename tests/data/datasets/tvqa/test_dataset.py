"""Tests of the TVQA and TVQA+ questions: published counts, correct answers, and rejected files."""

import argparse
import collections

import pytest
from svilm_data.annotations.official_files import OfficialFiles
from svilm_data.datasets.tvqa import DATASET
from svilm_data.datasets.tvqa.dataset import question_type
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.records import open_records
from svilm_jax.input.schema import Question
from tests.data.official_cases import prepare, write
from tests.data.weird_videos import write_video

ROW = {"q": "What's on the table ?", "vid_name": "s01e02_seg02_clip_12", "qid": 7, "ts": "0-5.4", "answer_idx": 3}
ROW |= {f"a{i}": f"Answer {i} ." for i in range(5)}
TEST = {name: value for name, value in ROW.items() if name != "answer_idx"} | {"ts": "NaN-NaN", "vid_name": "x_clip"}


def read(folder, plus=False):
    return DATASET.read(OfficialFiles(folder), argparse.Namespace(plus=plus))


def questions(annotated, split):
    return [question for wanted in annotated.splits[split] for question in wanted.record.questions]


def test_the_official_test_file_has_no_answers(read_official):
    held = questions(read_official("tvqa", plus=False), "test_public")
    assert {question.answer for question in held} == {""}
    assert collections.Counter(q.kind for q in held).most_common(5) == [
        ("what", 4253),
        ("who", 892),
        ("where", 879),
        ("why", 793),
        ("how", 671),
    ]


def test_the_official_file_of_tvqa_plus_has_right_answers(read_official):
    official = read_official("tvqa", plus=True)
    first = questions(official, "validation")[0]
    assert first.answer == "Raj had become excited and did not want Penny to know ."
    assert (first.kind, all(q.answer for q in questions(official, "validation"))) == ("why", True)


@pytest.mark.parametrize(
    ("question", "expected"),
    [("What is it?", "what"), ("What's up?", "what"), ("[What/...]", "what"), ("  whose hat?", "whose"), ("42?", "")],
)
def test_the_kind_of_a_question(question, expected):
    assert question_type(question) == expected


def test_small_files_of_both(tmp_path):
    write(tmp_path, "tvqa_train.jsonl", [ROW, ROW | {"qid": 8, "answer_idx": 0}])
    write(tmp_path, "tvqa_test_public.jsonl", [TEST])
    write(tmp_path, "tvqa_plus_train.json", [ROW | {"answer_idx": "3", "ts": [0, 5.4], "bbox": {}}])
    some, plus = read(tmp_path), read(tmp_path, plus=True)
    right = Question("What's on the table ?", "Answer 3 .", "what")
    assert questions(some, "train") == [right, Question(right.question, "Answer 0 .", "what")]
    assert questions(some, "test_public") == [Question(right.question, "", "what")]
    assert questions(plus, "train") == [right]
    assert [wanted.record.group for wanted in some.splits["train"] + some.splits["test_public"]] == ["s01e02", ""]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"qid": "7"}, r"field 'qid': expected int, got '7'"),
        ({"qid": 9}, r"field 'qid': 9 occurs twice in this file"),
        ({"q": " "}, r"expected a sentence, got ' '"),
        ({"a2": ""}, r"field 'a2': expected a sentence, got ''"),
        ({"a4": None}, r"field 'a4': expected str, got None"),
        ({"answer_idx": 5}, r"field 'answer_idx': expected 0 to 4, got 5"),
        ({"answer_idx": "b"}, r"field 'answer_idx': expected 0 to 4, got 'b'"),
        ({"vid_name": None}, r"field 'vid_name': expected str"),
    ],
)
def test_what_does_not_fit_is_refused_by_file_and_line(tmp_path, changed, message):
    write(tmp_path, "tvqa_val.jsonl", [ROW | {"qid": 9}, ROW | changed])
    with pytest.raises(PreparationError, match=r"tvqa_val\.jsonl: line 2.*" + message):
        read(tmp_path)


def test_wrong_files_are_refused(tmp_path):
    write(tmp_path, "tvqa_plus_val.json", [ROW])
    write(tmp_path, "tvqa_plus_train.json", [ROW])
    with pytest.raises(
        PreparationError, match=r"video 's01e02_seg02_clip_12' is in split train and in split validation"
    ):
        read(tmp_path, plus=True)


def test_questions_come_back_from_records_and_answers_are_listed(tmp_path):
    write(tmp_path / "files", "tvqa_train.jsonl", [ROW])
    write_video(tmp_path / "videos" / "bbt" / f"{ROW['vid_name']}.mkv")
    folder = prepare("tvqa", tmp_path / "files", tmp_path / "videos", tmp_path / "out", "--allow-other-counts")
    (record,) = open_records(folder, "train")
    assert record.questions == (Question("What's on the table ?", "Answer 3 .", "what"),)
    assert "Answer 3 ." in (folder / "answers.json").read_text()
