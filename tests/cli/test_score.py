"""Tests of `svilm score`: one JSON object with the right numbers, and one-line errors."""

import json
import subprocess
import sys

import numpy as np
import pytest

from svilm_jax.evaluation.localization.published_files import write_submission
from svilm_jax.main import main


def score(*arguments):
    """Runs the command in a process of its own."""
    command = [sys.executable, "-m", "svilm_jax.main", "score", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def scored(capsys):
    """Returns a function that runs the command in this process, which is faster, and parses its output."""

    def call(*arguments):
        assert main(["score", *map(str, arguments)]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        return json.loads(printed.out)

    return call


@pytest.fixture
def refused(capsys):
    """Returns a function that runs the command with invalid arguments and returns its error line."""

    def call(*arguments):
        assert main(["score", *map(str, arguments)]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        return printed.err

    return call


@pytest.fixture
def written(tmp_path):
    def write(content, name):
        path = tmp_path / name
        if isinstance(content, np.ndarray):
            np.save(path, content)
        else:
            path.write_text(json.dumps(content))
        return path

    return write


def slow_retrieval(similarity, positives):
    """Returns the metrics of one direction, computed one query at a time."""
    ranks = []
    for row, right in zip(similarity, positives, strict=True):
        if right.any():
            best = max(row[right])
            ranks.append(1 + sum(1 for value, hit in zip(row, right, strict=True) if not hit and value >= best))
    ordered = sorted(ranks)
    middle = (ordered[(len(ranks) - 1) // 2] + ordered[len(ranks) // 2]) / 2
    recalls = {f"R{k}": 100 * sum(rank <= k for rank in ranks) / len(ranks) for k in (1, 5, 10)}
    sizes = {"queries": len(ranks), "items": similarity.shape[1]}
    return {**recalls, "MedR": middle, "MeanR": sum(ranks) / len(ranks), **sizes}


def test_help_has_an_example_of_each_and_needs_no_jax(capsys):
    done = score("--help")
    assert done.returncode == 0
    for task in ("retrieval", "qa", "localization"):
        assert f"\n  svilm score {task} --" in done.stdout
        with pytest.raises(SystemExit):
            main(["score", task, "--help"])
        assert f"example: svilm score {task} --" in capsys.readouterr().out
    code = (
        "import sys, svilm_jax.main as m\n"
        "try: m.main(['score', '--help'])\n"
        "except SystemExit: print('jax' in sys.modules or 'av' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "False"


def test_retrieval_on_the_diagonal_with_ties(written, scored):
    similarity = np.random.default_rng(0).integers(0, 12, (40, 40)).astype(np.float32) / 12
    found = scored("retrieval", "--predictions", written(similarity, "s.npy"))
    assert found["task"] == "retrieval"
    assert found["recall"] == "percent"
    for direction, side in (("t2v", similarity), ("v2t", similarity.T)):
        chance = found[direction].pop("chance")
        assert found[direction] == pytest.approx(slow_retrieval(side, np.eye(40, dtype=bool)))
        assert chance["R1"] == pytest.approx(2.5)
        assert chance["MeanR"] == pytest.approx(20.5)
    assert "transductive_dual_softmax" not in found


def test_several_captions_of_a_video_in_every_form(written, scored):
    rng = np.random.default_rng(1)
    owner = np.sort(rng.integers(0, 9, 30))  # of ten videos, one has no caption at all
    similarity = rng.normal(size=(30, 10))
    positives = owner[:, None] == np.arange(10)
    expected = {
        "t2v": slow_retrieval(similarity, positives),
        "v2t": slow_retrieval(similarity.T, positives.T),
    }
    predictions = written(similarity, "s.npy")
    for content, name in [
        (owner, "owner.npy"),
        (positives, "positives.npy"),
        (owner.tolist(), "owner.json"),
        ([[int(video)] for video in owner], "lists.json"),
    ]:
        found = scored("retrieval", "--predictions", predictions, "--ground-truth", written(content, name))
        for direction in ("t2v", "v2t"):
            found[direction].pop("chance")
            assert found[direction] == pytest.approx(expected[direction]), name
    assert expected["v2t"]["queries"] < 10


def test_dual_softmax_is_reported_separately_and_sums_over_each_sides_queries(written, scored):
    similarity = np.random.default_rng(2).random((20, 20))
    plain = scored("retrieval", "--predictions", written(similarity, "s.npy"))
    found = scored("retrieval", "--predictions", written(similarity, "s.npy"), "--dual-softmax", 0.1)
    reranked = found.pop("transductive_dual_softmax")
    assert found == plain
    assert reranked.pop("temperature") == 0.1
    for direction, side in (("t2v", similarity), ("v2t", similarity.T)):
        share = np.exp(side / 0.1) / np.exp(side / 0.1).sum(axis=0)
        assert reranked[direction] == pytest.approx(slow_retrieval(side * share, np.eye(20, dtype=bool)))
    default = scored("retrieval", "--predictions", written(similarity, "s.npy"), "--dual-softmax")
    assert default["transductive_dual_softmax"]["temperature"] == 0.01


@pytest.mark.parametrize(
    ("similarity", "truth", "message"),
    [
        (np.zeros((3, 2)), None, "give --ground-truth"),
        (np.full((2, 2), np.nan), None, "NaN"),
        (np.zeros(4), None, "expected numbers [captions, videos]"),
        (np.zeros((0, 0)), None, "expected numbers [captions, videos]"),
        (np.array([["a"]]), None, "expected numbers"),
        (np.zeros((3, 2)), [0, 1], "2 entries"),
        (np.zeros((3, 2)), [0, 1, 2], "entry 2: expected indices from 0 to 1, found 2"),
        (np.zeros((3, 2)), [0, 1, -1], "found -1"),
        (np.zeros((3, 2)), [0, [1], []], "captions have no video, the first is 2"),
        (np.zeros((3, 2)), [True, 1, 1], "found True"),
        (np.zeros((3, 2)), {"0": 1}, "expected a list"),
        (np.zeros((3, 2)), np.zeros(3), "expected int [captions]"),
        (np.zeros((3, 2)), np.ones((2, 3), bool), "[2, 3], but the similarities are [3, 2]"),
    ],
)
def test_retrieval_mistakes(written, refused, similarity, truth, message):
    arguments = ["retrieval", "--predictions", written(similarity, "s.npy")]
    if truth is not None:
        arguments += ["--ground-truth", written(truth, "t.npy" if isinstance(truth, np.ndarray) else "t.json")]
    assert message in refused(*arguments)


QUESTIONS = [
    {"id": 1, "answer": "man", "question": "who runs", "video_id": 1},
    {"id": 2, "answer": "dog", "question": "what barks", "video_id": 1},
    {"id": 3, "answer": "zebra", "question": "what runs", "video_id": 1},
    {"id": 4, "answer": "two", "question": "how many", "video_id": 1},
]


def test_answers_over_the_whole_ground_truth(written, scored, refused):
    truth, train = written(QUESTIONS, "q.json"), written(QUESTIONS[:2] + QUESTIONS[3:], "train.json")
    predictions = written({"1": "man", "2": "cat", "3": "zebra"}, "p.json")
    found = scored("qa", "--ground-truth", truth, "--predictions", predictions, "--train", train)
    assert found == {
        "task": "qa",
        "accuracy": 50.0,
        "by_kind": {
            "what": {"accuracy": 50.0, "questions": 2},
            "who": {"accuracy": 100.0, "questions": 1},
            "how": {"accuracy": 0.0, "questions": 1},
        },
        "unit": "percent",
        "questions": 4,
        "without_prediction": 1,
        "train_answers": 3,
        "out_of_vocabulary": 25.0,
    }
    wrong = written({"1": "man", "9": "cat", "10": "cat"}, "p.json")
    assert "2 of 3 ids are not in" in refused("qa", "--ground-truth", truth, "--predictions", wrong)


def test_answers_of_activitynet_qa(written, scored):
    a = written([{"answer": "yes", "type": 3, "question_id": "v_x_1"}], "a.json")
    q = written([{"question": "where is it", "question_id": "v_x_1"}], "q.json")
    p = written([{"question_id": "v_x_1", "answer": "yes"}], "p.json")
    assert list(scored("qa", "--ground-truth", a, "--predictions", p)["by_kind"]) == ["yes/no"]
    assert list(scored("qa", "--ground-truth", a, "--predictions", p, "--questions", q)["by_kind"]) == ["where"]


def test_localization_by_hand(written, scored, refused, tmp_path):
    truth = {
        "database": {
            "a": {"subset": "validation", "annotations": [{"label": "Run", "segment": [0, 10]}]},
            "b": {"subset": "validation", "annotations": [{"label": "Jump", "segment": [0, 10]}]},
            "c": {"subset": "training", "annotations": [{"label": "Swim", "segment": [0, 10]}]},
        }
    }
    truth = written(truth, "gt.json")
    results = {"a": [("Run", 0.9, (0, 7.2)), ("Swim", 0.9, (0, 10))], "z": [("Run", 0.1, (0, 10))]}
    write_submission(tmp_path / "s.json.gz", results)
    found = scored("localization", "--ground-truth", truth, "--predictions", tmp_path / "s.json.gz")
    assert found["mAP"] == {f"{t / 100:.2f}": (50.0 if t <= 70 else 0.0) for t in range(50, 100, 5)}
    assert found["average_mAP"] == pytest.approx(25.0)
    counts = {
        "subset": "validation",
        "segments": 2,
        "videos": 2,
        "classes": 2,
        "classes_without_prediction": 1,
        "predictions": 3,
        "videos_without_prediction": 1,
        "predictions_in_other_videos": 1,
        "predictions_of_unknown_label": 1,
        "predictions_of_tied_score": 0,
    }
    assert {name: found[name] for name in counts} == counts
    blocked = written(["b"], "blocked.json")
    arguments = ["localization", "--ground-truth", truth, "--predictions", tmp_path / "s.json.gz"]
    assert scored(*arguments, "--blocked", blocked)["average_mAP"] == pytest.approx(50.0)
    message = refused(*arguments, "--subset", "training")
    assert "none of its 2 videos is in subset 'training'" in message
    assert "the first is 'a'" in message
    assert "it has validation, training" in refused(*arguments, "--subset", "val")


def test_as_a_process_one_object_on_stdout_or_one_line_on_stderr(written, tmp_path):
    done = score("retrieval", "--predictions", written(np.eye(3), "s.npy"))
    assert done.returncode == 0
    assert done.stderr == ""
    assert json.loads(done.stdout)["t2v"]["R1"] == 100.0
    done = score("qa", "--ground-truth", tmp_path / "none.json", "--predictions", tmp_path / "none.json")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.endswith("none.json: No such file or directory\n")
    assert done.stderr.count("\n") == 1


def test_what_is_not_a_file_is_named(refused, tmp_path):
    assert str(tmp_path) in refused("retrieval", "--predictions", tmp_path)
    assert "none.npy" in refused("retrieval", "--predictions", tmp_path / "none.npy")
