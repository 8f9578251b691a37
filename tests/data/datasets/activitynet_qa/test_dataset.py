"""Tests of ActivityNet-QA: questions joined with answers and types, and the published counts."""

import pytest
from svilm_data.datasets.activitynet_qa import DATASET
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.records import open_records
from svilm_jax.input.schema import Question
from tests.data.official_cases import counts, prepare, read, write

CLIP = "ZNVhz7ctTq0"
ASKED = [
    {"video_name": CLIP, "question": "is the dog  walking ", "question_id": f"v_{CLIP}_1"},
    {"video_name": "-bcd_fghijk", "question": "what color is it", "question_id": "v_-bcd_fghijk_1"},
    {"video_name": CLIP, "question": "where is the child", "question_id": f"v_{CLIP}_2"},
]
ANSWERS = [
    {"answer": "behind dog", "type": 1, "question_id": f"v_{CLIP}_2"},
    {"answer": "red", "type": 4, "question_id": "v_-bcd_fghijk_1"},
    {"answer": "yes", "type": 3, "question_id": f"v_{CLIP}_1"},
]


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "test_q.json", ASKED)
    write(tmp_path, "test_a.json", ANSWERS)
    return tmp_path


def test_answers_are_found_by_the_id_of_their_question(folder):
    made = read(DATASET, folder)
    assert list(made.splits) == ["test"]
    dog, other = made.splits["test"]
    assert dog.record.id == f"v_{CLIP}"
    assert dog.names == (f"v_{CLIP}", CLIP)
    assert dog.record.questions == (
        Question("is the dog walking", "yes", "Yes/No"),
        Question("where is the child", "behind dog", "Spatial Relationship"),
    )
    assert other.names == ("v_-bcd_fghijk", "-bcd_fghijk")
    assert other.record.questions[0].kind == "Color"
    assert counts(made)["test questions"] == 3
    assert made.notes["train questions"] == "not found (expected train_q.json): prepared without this split"


def test_names_with_the_prefix_are_the_same_videos(folder):
    plain = read(DATASET, folder)
    write(folder, "test_q.json", [row | {"video_name": f"v_{row['video_name']}"} for row in ASKED])
    assert read(DATASET, folder) == plain


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "test_a.json",
            ANSWERS[:2],
            rf"test_q\.json: entry 0, field 'question_id': v_{CLIP}_1 has no answer in test_a",
        ),
        ("test_q.json", ASKED[:2], rf"test_a\.json: question_id v_{CLIP}_2 is not a question of test_q\.json"),
        ("test_q.json", [*ASKED, ASKED[0]], rf"entry 3: question id v_{CLIP}_1 occurs twice in the test split"),
        (
            "test_a.json",
            [*ANSWERS, ANSWERS[0]],
            rf"test_a\.json: entry 3, field 'question_id': v_{CLIP}_2 occurs twice",
        ),
        ("test_a.json", [ANSWERS[0] | {"type": 9}], r"test_a\.json: entry 0, field 'type': expected 0 to 8, got 9"),
        ("test_a.json", [ANSWERS[0] | {"type": "3"}], r"entry 0, field 'type': expected int, got '3'"),
        ("test_a.json", [{"type": 3, "question_id": "x"}], r"entry 0, field 'answer': missing; expected str"),
        ("test_q.json", [ASKED[0] | {"video_name": " "}], r"entry 0, field 'video_name': expected the id of a video"),
        ("test_q.json", {"a": 1}, r"test_q\.json: expected a list of objects, got dict"),
    ],
)
def test_what_does_not_fit_is_named(folder, name, content, message):
    write(folder, name, content)
    with pytest.raises(PreparationError, match=message):
        read(DATASET, folder)


@pytest.mark.parametrize(("gone", "message"), [("test_q.json", "no test_q.json"), ("test_a.json", "no test_a.json")])
def test_questions_and_answers_come_together(folder, gone, message):
    (folder / gone).unlink()
    with pytest.raises(PreparationError, match=message):
        read(DATASET, folder)


def test_official_questions_are_ten_a_video(read_official):
    made = read_official("activitynet_qa")
    assert all(len(item.record.questions) == 10 for wanted in made.splits.values() for item in wanted)
    # One question each about motion, space and time, and seven free ones.
    kinds = counts(made)
    for kind in ("Motion", "Spatial Relationship", "Temporal Relationship"):
        assert (kinds[f"validation questions: {kind}"], kinds[f"test questions: {kind}"]) == (1800, 800)
    assert kinds["test questions: Yes/No"] == 2094
    ids = [item.record.id for wanted in made.splits.values() for item in wanted]
    assert len({name.lower() for name in ids}) == len(ids)  # so that file names may differ in case


def test_a_real_clip_to_a_record(realdata, folder, tmp_path):
    videos = realdata / "videos" / "activitynet"
    more = ("--allow-other-counts", "--max-skipped-fraction", "0.5")
    made = prepare("activitynet_qa", folder, videos, tmp_path / "out", *more)
    [record] = open_records(made, "test")
    assert record.video == (videos / f"v_{CLIP}.mp4").read_bytes()
    assert [q.kind for q in record.questions] == ["Yes/No", "Spatial Relationship"]
