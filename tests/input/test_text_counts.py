"""Tests of the texts that an epoch counts: those of the summary, or of the records where there is no summary."""

import json
import shutil

import pytest

from svilm_jax.config import InputConfig
from svilm_jax.input.records import RecordSource, open_records
from svilm_jax.input.text_counts import drawn_texts, texts_per_clip


@pytest.mark.parametrize(
    ("task", "text", "kind"),
    [
        ("video_text", "caption", "captions"),
        ("video_text", "paragraph", None),
        ("video_text", "sentences", None),
        ("question_answering", "caption", "questions"),
        ("action_recognition", "caption", None),
    ],
)
def test_texts_of_which_a_row_shows_one(task, text, kind):
    assert drawn_texts(InputConfig(text=text), task) == kind


@pytest.fixture
def prepared(moving_shapes, tmp_path):
    """Returns a function that copies the prepared dataset with other counts of the training split."""

    def copy(**counts):
        folder = tmp_path / "copy"
        shutil.copytree(moving_shapes, folder, symlinks=True)
        file = folder / "preparation.json"
        summary = json.loads(file.read_text())
        summary["splits"]["train"] |= counts
        file.write_text(json.dumps(summary))
        return open_records(folder, "train")

    return copy


def test_the_counts_of_preparation_are_those_of_the_records(moving_shapes):
    records = open_records(moving_shapes, "train")
    summary = json.loads((records.folder.parent / "preparation.json").read_text())["splits"]["train"]
    assert summary["captions"] == sum(len(record.captions) for record in records) > len(records)
    assert summary["questions"] == sum(len(record.questions) for record in records) > len(records)


def test_counts_of_preparation_need_no_records(prepared, monkeypatch):
    records = prepared(captions=1000)
    monkeypatch.setattr(RecordSource, "__iter__", lambda self: pytest.fail("reads the records"))
    assert texts_per_clip(records, "captions") == 1000 / len(records)


def test_older_datasets_are_counted_by_reading(prepared, numbered):
    without_questions = prepared(questions=None)
    assert texts_per_clip(without_questions, "questions") == pytest.approx(
        sum(len(record.questions) for record in without_questions) / len(without_questions)
    )
    records = open_records(numbered, "train")  # no preparation.json at all
    assert texts_per_clip(records, "captions") == sum(len(r.captions) for r in records) / len(records) > 1


def test_clips_without_texts_are_clips_of_one(numbered):
    assert texts_per_clip(open_records(numbered, "train"), "questions") == 1


def test_counts_of_another_number_of_clips_are_not_believed(prepared):
    records = prepared(clips=1, captions=10**6)
    assert texts_per_clip(records, "captions") < 10
