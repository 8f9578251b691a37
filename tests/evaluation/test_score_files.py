"""Tests of reading published file formats, and of one-line errors for everything else."""

import gzip
import json

import numpy as np
import pytest

from svilm_jax.evaluation import score_files
from svilm_jax.evaluation.localization.metrics import detection_average_precision
from svilm_jax.evaluation.localization.published_files import (
    read_blocked,
    read_ground_truth,
    read_submission,
    write_submission,
)
from svilm_jax.evaluation.localization.video_classes import read_video_classes
from svilm_jax.evaluation.question_answering.published_files import (
    ACTIVITYNET_QA_TYPES,
    PublishedQuestion,
    read_answers,
    read_predictions,
    read_questions,
)
from svilm_jax.evaluation.score_files import ScoreError


@pytest.fixture
def written(tmp_path):
    def write(content, name="file.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


DATABASE = {
    "version": "VERSION 1.3",
    "database": {
        "a": {"subset": "training", "annotations": [{"label": "Run", "segment": [0, 9]}]},
        "b": {"subset": "validation", "annotations": [{"label": "Jump", "segment": ["1.5", 2]}]},
        "c": {"subset": "validation", "annotations": []},
        "d": {"subset": "validation", "annotations": [{"label": "Run", "segment": [3, 3]}]},
        "e": {"subset": "testing"},
    },
}


def test_json_gzipped_or_not_whatever_its_name(tmp_path):
    raw = json.dumps({"a": 1}).encode()
    for name, content in (("x.json", gzip.compress(raw)), ("y.json.gz", raw), ("z.json", b"\xef\xbb\xbf" + raw)):
        (tmp_path / name).write_bytes(content)
        assert score_files.read_json(tmp_path / name) == {"a": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": ', "expected JSON"),
        (b'{"a": 1}\n{"a": 2}\n', "named .jsonl"),
        (b"\xff\xfe\x00", "UTF-16"),
        (b"\x1f\x8b\x08\x00", "file.json"),
        (gzip.compress(b'{"a": 1}' * 50, mtime=0)[:-12], "file.json"),
    ],
)
def test_a_broken_file_is_named(tmp_path, content, message):
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(ScoreError, match=message):
        score_files.read_json(tmp_path / "file.json")


def test_an_array_with_objects_is_never_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.savez(tmp_path / "y.npz", a=np.zeros(2))
    for name, message in (("x.npy", "objects, which are never unpickled"), ("y.npz", "archive"), ("z.npy", "z.npy")):
        with pytest.raises(ScoreError, match=message):
            score_files.read_array(tmp_path / name)


def test_ground_truth_of_a_subset(written):
    truth = read_ground_truth(written(DATABASE))
    assert truth.videos.tolist() == ["b", "d"]
    assert truth.labels.tolist() == ["Jump", "Run"]
    assert truth.times.tolist() == [[1.5, 2], [3, 3]]
    assert read_ground_truth(written(DATABASE), "training").videos.tolist() == ["a"]
    assert read_ground_truth(written(DATABASE), blocked={"b"}).videos.tolist() == ["d"]
    with pytest.raises(ScoreError, match="'val'; it has training, validation, testing"):
        read_ground_truth(written(DATABASE), "val")


def test_a_submission_comes_back_as_it_was_written(tmp_path):
    of_b = [("Jump", 0.1 + 0.2, (1 / 3, 2.0)), ("Run", 1.0, (0.0, 1e-9))]
    results = {"b": of_b, "c": [], "d": [("Run", np.float32(0.5), (1, 2))]}
    for name in ("s.json", "s.json.gz"):
        write_submission(tmp_path / name, results)
        found = read_submission(tmp_path / name)
        assert found.videos.tolist() == ["b", "b", "d"]
        assert found.labels.tolist() == ["Jump", "Run", "Run"]
        assert found.scores.tolist() == [0.1 + 0.2, 1.0, 0.5]
        assert found.times.tolist() == [[1 / 3, 2.0], [0.0, 1e-9], [1.0, 2.0]]
    assert (tmp_path / "s.json.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert json.loads((tmp_path / "s.json").read_text()).keys() == {"version", "results", "external_data"}
    assert read_submission(tmp_path / "s.json", blocked={"b"}).videos.tolist() == ["d"]
    with pytest.raises(ValueError, match="JSON"):
        write_submission(tmp_path / "n.json", {"b": [("Jump", float("nan"), (0, 1))]})


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        ({"score": 1, "segment": [0, 1]}, "'b': prediction 0: no 'label', only 'score', 'segment'"),
        ({"label": "x", "segment": [0, 1]}, "no 'score'"),
        ({"label": "x", "score": "high", "segment": [0, 1]}, 'score: expected a finite number, found "high"'),
        ({"label": "x", "score": float("nan"), "segment": [0, 1]}, "finite number"),
        ({"label": "x", "score": True, "segment": [0, 1]}, "finite number"),
        ({"label": "x", "score": 1, "segment": [0, 1, 2]}, r"expected \[start, end\], found 3"),
        ({"label": "x", "score": 1, "segment": 4}, "expected a list"),
        ({"label": None, "score": 1, "segment": [0, 1]}, "label: expected a string, found null"),
        ([], "expected an object"),
    ],
)
def test_a_bad_prediction_is_named(written, prediction, message):
    with pytest.raises(ScoreError, match=message):
        read_submission(written({"results": {"b": [prediction]}}))


def test_a_file_of_the_wrong_kind_says_what_it_lacks(written):
    with pytest.raises(ScoreError, match="no 'results', only 'version', 'database'"):
        read_submission(written(DATABASE))
    with pytest.raises(ScoreError, match="no 'database'"):
        read_ground_truth(written({"results": {}}))
    assert read_blocked(written(["a", "b"])) == {"a", "b"}
    with pytest.raises(ScoreError, match="expected a list"):
        read_blocked(written({"a": 1}))


def test_the_real_validation_set_scored_with_itself(realdata):
    """Perfect but for three segments without length, which match themselves by 0 / 0."""
    file = realdata / "annotations" / "activitynet" / "derived" / "activity_net.v1-3.reconstructed.min.json.gz"
    if not file.exists():
        pytest.skip(f"no {file}")
    truth = read_ground_truth(file)
    everything = truth.__class__(truth.videos, truth.labels, truth.times, np.ones(len(truth)))
    found = detection_average_precision(truth, everything)
    assert found.average == pytest.approx(1.0, abs=1e-3)
    assert len(truth) == 7654
    assert len(found.labels) == 200


def test_questions_of_every_published_form(written):
    msvd = [{"answer": "man", "id": 7, "question": "who runs?", "video_id": 1}]
    assert read_questions(written(msvd)) == [PublishedQuestion("7", "man", "who")]
    lines = '{"answer": "a", "question": "what?", "video_id": "v", "answer_type": "what"}\n' * 2
    assert [q.id for q in read_questions(written(lines, "val.jsonl"))] == ["0", "1"]
    a = [{"answer": "yes", "type": 3, "question_id": "v_x_1"}, {"answer": "2", "type": 7, "question_id": "v_x_2"}]
    q = [{"question_id": "v_x_2", "question": "how many"}, {"question_id": "v_x_1", "question": "is it"}]
    assert [q.kind for q in read_questions(written(a))] == ["yes/no", "number"]
    texts = written(q, "q.json")
    assert [q.kind for q in read_questions(written(a), texts)] == ["other", "how"]
    with pytest.raises(ScoreError, match="no question 'v_x_2'"):
        read_questions(written(a), written(q[1:], "q.json"))
    assert read_questions(written([{"id": 1, "answer": "x"}])) == [PublishedQuestion("1", "x", "")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no questions"),
        ([{"id": 1, "answer": "a"}, {"id": "1", "answer": "b"}], "row 1: id '1' occurs twice"),
        ([{"id": 1, "answer": "a"}, {"answer": "b"}], "row 1: no id"),
        ([{"id": 1}], "no 'answer'"),
        ([{"id": 1, "answer": None}], "expected a string, found null"),
        ({"questions": []}, "expected a list"),
        (["a"], "row 0: expected an object"),
    ],
)
def test_bad_questions_are_named(written, rows, message):
    with pytest.raises(ScoreError, match=message):
        read_questions(written(rows))


def test_predictions_of_both_forms(written):
    assert read_predictions(written({"7": "man", "8": 2})) == {"7": "man", "8": "2"}
    assert read_predictions(written([{"question_id": 7, "answer": "man"}])) == {"7": "man"}
    assert read_predictions(written([])) == {}
    with pytest.raises(ScoreError, match="row 0: no id"):
        read_predictions(written([{"answer": "man"}]))
    with pytest.raises(ScoreError, match="twice"):
        read_predictions(written([{"id": 7, "answer": "man"}, {"id": 7, "answer": "dog"}]))
    with pytest.raises(ScoreError, match="expected a string"):
        read_predictions(written({"7": ["man"]}))
    assert read_answers(written([{"answer": "a", "id": 1}, {"answer": "b"}])) == ["a", "b"]
    assert read_answers(written(["a", "b"])) == ["a", "b"]


def test_the_real_question_files(realdata):
    folder = realdata / "annotations"
    if not (folder / "activitynet_qa").is_dir():
        pytest.skip("no annotation files")
    a, q = (folder / "activitynet_qa" / f"test_{side}.json.gz" for side in "aq")
    assert len(read_questions(a, q)) == 8000
    assert {question.kind for question in read_questions(a)} == set(ACTIVITYNET_QA_TYPES)
    msvd = read_questions(folder / "msvd_qa" / "test_qa.json.gz")
    assert len(msvd) == 13157
    assert sum(q.kind == "what" for q in msvd) == 8149
    assert len(read_questions(folder / "msrvtt_qa" / "val.jsonl.gz")) == 12278


def test_classes_of_a_classifier(written):
    cuhk = {"class": ["A", "B", "C"], "results": {"x": [0.1, 0.7, 0.2], "v_y": [0.5, 0.1, 0.5]}}
    assert read_video_classes(written(cuhk)) == {"x": [("B", 0.7), ("C", 0.2)], "v_y": [("A", 0.5), ("C", 0.5)]}
    assert read_video_classes(written(cuhk), top=1)["x"] == [("B", 0.7)]
    best = {"v_x": {"class": "A", "score": 0.9}, "v_y": {"class": "B", "score": 1}}
    assert read_video_classes(written(best)) == {"x": [("A", 0.9)], "y": [("B", 1.0)]}
    youtube = {"v_345678901": {"class": "A", "score": 0.9}}
    assert list(read_video_classes(written(youtube))) == ["v_345678901"]
    for content, message in [
        ({**cuhk, "results": {"x": [0.1]}}, "'x': 1 scores for 3 classes"),
        ({**cuhk, "class": ["A", "A", "C"]}, "'A' occurs twice"),
        ({"x": {"label": "A"}}, "no 'class', only 'label'"),
        ({}, "no videos"),
        ([], "expected an object"),
    ]:
        with pytest.raises(ScoreError, match=message):
            read_video_classes(written(content))


def test_the_real_classifier_knows_the_validation_videos(realdata):
    file = realdata / "eval" / "activitynet" / "tags_best_score.json.gz"
    if not file.exists():
        pytest.skip(f"no {file}")
    classes = read_video_classes(file)
    truth = read_ground_truth(
        realdata / "annotations" / "activitynet" / "derived" / "activity_net.v1-3.reconstructed.min.json.gz"
    )
    assert classes.keys() >= set(truth.videos.tolist())
    right = [classes[video][0][0] == label for video, label in zip(truth.videos, truth.labels, strict=True)]
    assert np.mean(right) > 0.8


def test_lines_may_hold_separators_of_unicode(tmp_path):
    rows = [{"id": number, "question": "a\u2028b\x85c", "answer": "dog"} for number in range(2)]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "q.jsonl").write_text(text, encoding="utf-8")
    assert [question.id for question in read_questions(tmp_path / "q.jsonl")] == ["0", "1"]


def test_a_name_twice_is_refused(written):
    with pytest.raises(ScoreError, match=r"file\.json: expected JSON \(the name '0' occurs twice in one object\)"):
        read_predictions(written('{"0": "cat", "0": "dog"}'))
    with pytest.raises(ScoreError, match="the name 'v0' occurs twice"):
        read_submission(written('{"results": {"v0": [], "v0": []}}'))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"0.5,0.25\n0.125,1.0\n", r"expected a NumPy array as numpy\.save writes it \(\.npy\), found a text file"),
        (b"[[0.5, 0.25]]", "found a JSON document"),
        (b"", "found an empty file"),
        (b"\x80\x04\x95pickled", "found another kind of file"),
        (b"\x93NUMPY\x01\x00\x10\x00{'descr': 1", "damaged NumPy array"),
        (b"\x93NUMPY\x01\x00", "damaged NumPy array"),
    ],
)
def test_another_file_for_an_array_is_told_what_is_expected(tmp_path, content, message):
    (tmp_path / "s.csv").write_bytes(content)
    with pytest.raises(ScoreError, match=message) as caught:
        score_files.read_array(tmp_path / "s.csv")
    assert "pickle=" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_array_that_promises_more_than_memory_holds(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (999999999, 999999999), }"
    header += b" " * (117 - len(header)) + b"\n"
    (tmp_path / "s.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\x00" * 80)
    with pytest.raises(ScoreError, match=r"s\.npy: "):
        score_files.read_array(tmp_path / "s.npy")


def test_numbers_beyond_every_float_are_not_finite(written):
    for score in ("9" * 400, "1e999"):
        text = '{"results": {"b": [{"label": "x", "segment": [0, 1], "score": SCORE}]}}'.replace("SCORE", score)
        with pytest.raises(ScoreError, match="score: expected a finite number"):
            read_submission(written(text))
