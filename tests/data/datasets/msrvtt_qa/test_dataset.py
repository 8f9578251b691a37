"""Tests of the MSRVTT-QA questions: all formats, and the published counts."""

import gzip
import json

import pytest
from svilm_data.datasets.msrvtt_qa import DATASET
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.records import open_records
from svilm_jax.input.schema import Question
from tests.data.official_cases import counts, link, prepare, read, write

ROWS = [
    {"answer": "couch", "category_id": 14, "id": 7, "question": "what are they sitting on?", "video_id": 7010},
    {"answer": "two", "category_id": 14, "id": 8, "question": "how many people sing?", "video_id": 7010},
    {"answer": "man", "category_id": 3, "id": 9, "question": "who runs?", "video_id": 7013},
    {"answer": "run", "category_id": 3, "id": 10, "question": "which way does he run?", "video_id": 7010},
]


def questions(made, split):
    return {item.record.id: item.record.questions for item in made.splits[split]}


def test_the_official_form(tmp_path):
    write(tmp_path, "test_qa.json", ROWS)
    made = read(DATASET, tmp_path)
    assert list(made.splits) == ["test"]
    assert questions(made, "test") == {
        "video7010": (
            Question("what are they sitting on?", "couch", "what"),
            Question("how many people sing?", "two", "how"),
            Question("which way does he run?", "run", "other"),
        ),
        "video7013": (Question("who runs?", "man", "who"),),
    }
    assert made.splits["test"][0].names == ("video7010", "msr7010")
    assert counts(made) == {
        **{"test questions": 4, "test videos": 2, "test questions: what": 1, "test questions: how": 1},
        **{"test questions: who": 1, "test questions: other": 1},
    }
    assert made.notes["train questions"] == "not found (expected train_qa.json): prepared without this split"


def as_csv(row):
    return f"{row['video_id']},{row['question'].rstrip('?')},{row['answer']},{row['id']},{row['category_id']}\n"


@pytest.mark.parametrize("name", ["test.csv", "hqga_test.csv", "test.jsonl", "msrvtt_qa_test.jsonl", "test_qa.json.gz"])
def test_other_forms_say_the_same(tmp_path, name):
    official = read(DATASET, write(tmp_path / "official", "test_qa.json", ROWS).parent)
    if name.endswith(".csv"):
        content = "video,question,answer,qid,type\n" + "".join(map(as_csv, ROWS))
    elif name.endswith(".gz"):
        content = gzip.compress(json.dumps(ROWS).encode())
    else:
        content = [
            {"answer": row["answer"], "question": row["question"], "video_id": f"video{row['video_id']}"}
            for row in ROWS
        ]
    made = read(DATASET, write(tmp_path / "other", name, content).parent)
    assert made.splits == official.splits
    assert made.counts == official.counts
    restored = {"question marks": "restored in 4 questions"}
    assert {k: v for k, v in made.notes.items() if k == "question marks"} == (restored if "csv" in name else {})


def test_one_form_of_a_split_is_read_and_the_others_named(tmp_path):
    write(tmp_path, "test_qa.json", ROWS)
    write(tmp_path, "test.jsonl", "no JSON")
    write(tmp_path, "hqga_test.csv", "no csv")
    write(tmp_path, "MSRVTT_JSFUSION_test.csv", "key,vid_key,video_id,sentence\n")  # of another dataset
    notes = read(DATASET, tmp_path).notes
    assert notes["test questions"] == "read from test_qa.json; not read: hqga_test.csv, test.jsonl"


def test_repeated_and_empty_rows_are_counted(tmp_path):
    same = {"answer": "a ", "question": " who  is it?", "video_id": 1}
    write(tmp_path, "train_qa.json", [same, same, same | {"answer": " "}, same | {"question": ""}])
    made = read(DATASET, tmp_path)
    assert questions(made, "train") == {"video1": (Question("who is it?", "a", "who"),) * 2}
    assert counts(made)["train questions"] == 4
    assert made.notes["repeated questions"].startswith("1 occur more than once")
    assert made.notes["empty questions or answers"] == "2 left out"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, r"test_qa\.json: expected a list of objects, got dict"),
        (["x"], r"entry 0: expected an object, got 'x'"),
        ([ROWS[0] | {"video_id": 10000}], r"entry 0, field 'video_id': expected a video from video0 to video9999"),
        ([ROWS[0] | {"video_id": "clip7"}], r"entry 0, field 'video_id': expected a video from video0 to video9999"),
        ([ROWS[0] | {"video_id": True}], r"entry 0, field 'video_id': expected int or str, got True"),
        ([ROWS[0] | {"answer": 2}], r"entry 0, field 'answer': expected str, got 2"),
        ([{"video_id": 1, "answer": "a"}], r"entry 0, field 'question': missing; expected str"),
        ([ROWS[0], ROWS[1] | {"id": 7}], r"entry 1: question id 7 occurs twice in the test split"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, content, message):
    write(tmp_path, "test_qa.json", content)
    with pytest.raises(PreparationError, match=message):
        read(DATASET, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test.jsonl", '{"video_id": "video1"}\n', r"test\.jsonl: line 1, field 'question': missing"),
        ("test.jsonl", "[]\n", r"test\.jsonl: line 1: expected a JSON object, got \[\]"),
        ("test.jsonl", "\n{\n", r"test\.jsonl: line 2: expected JSON \("),
        ("test.csv", "video,question\n", r"test\.csv: line 1 \(the header\): expected one column 'answer'"),
        (
            "test.csv",
            "video,question,answer\n1,who,a,b\n",
            r"test\.csv: line 2: expected 3 fields as in the header, got 4",
        ),
        ("test.csv", "video,question,answer\nx,who,a\n", r"test\.csv: line 2, field 'video': expected a video"),
    ],
)
def test_lines_that_do_not_fit_are_named(tmp_path, name, content, message):
    write(tmp_path, name, content)
    with pytest.raises(PreparationError, match=message):
        read(DATASET, tmp_path)


def test_a_video_of_two_splits_is_refused(tmp_path):
    write(tmp_path, "train_qa.json", ROWS[:1])
    write(tmp_path, "test_qa.json", ROWS[:1])
    with pytest.raises(PreparationError, match=r"entry 0: video video7010 has questions in the test and in the train"):
        read(DATASET, tmp_path)


def test_official_questions_are_of_five_kinds(read_official):
    made = read_official("msrvtt_qa")
    assert made.notes["question marks"].startswith("restored in 72,821 questions")
    every = [q for wanted in made.splits.values() for item in wanted for q in item.record.questions]
    assert len(every) == 12_278 + 72_821
    assert all(q.question.endswith("?") and q.kind in ("what", "who", "how", "when", "where") for q in every)


def test_the_three_forms_of_the_official_val_file_say_the_same(realdata, tmp_path):
    folder = realdata / "annotations" / "msrvtt_qa"
    files = (folder / "derived" / "val_qa.json.gz", folder / "val.jsonl.gz", folder / "hqga_val.csv.gz")
    first, *others = [read(DATASET, link(tmp_path / file.name, file)) for file in files]
    for other in others:
        assert other.splits == first.splits
        assert other.counts == first.counts


def test_real_clips_to_records(realdata, tmp_path):
    annotations = link(tmp_path / "qa", realdata / "fixtures" / "msrvtt_qa" / "test_qa.clips.json")
    more = ("--allow-other-counts", "--max-skipped-fraction", "1")
    made = prepare("msrvtt_qa", annotations, realdata / "videos" / "msrvtt", tmp_path / "out", *more)
    rows = json.loads((annotations / "test_qa.clips.json").read_text())
    for record in open_records(made, "test"):
        mine = [row for row in rows if f"video{row['video_id']}" == record.id]
        assert [(q.question, q.answer) for q in record.questions] == [
            (row["question"].rstrip("?") + "?", row["answer"]) for row in mine
        ]
        assert record.questions
