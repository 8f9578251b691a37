"""Tests of official segment times and sentences: invalid ones are refused, irregular ones counted."""

import pytest
from svilm_data.annotations.captions.lists import CaptionLists
from svilm_data.annotations.issues import IssueCounter
from svilm_data.annotations.segment_times import parse_segment, parse_sentence
from svilm_data.pipeline.errors import PreparationError


def test_empty_and_endless_captions_are_counted_or_refused():
    lists = CaptionLists()
    for text in ("a dog", "\u200b", "word " * 3000):
        lists.add("a", text)
    assert lists.texts("a") == ["a dog"]
    assert lists.notes(["a"]) == {
        "empty captions": "1 left out",
        "captions of more than 10,000 characters": "1 left out",
    }
    for text, message in (("\ufeff", "expected a sentence"), ("word " * 3000, "got 14,999 characters")):
        with pytest.raises(PreparationError, match=message):
            parse_sentence(text, "f.json: entry 1")


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1, True, "1", None, 10**299])
def test_invalid_times_are_refused(value):
    issues = IssueCounter()
    if value == 10**299:
        assert parse_segment([0, value], "f", issues, "train", 5.0) == (0.0, 1e299)
        assert issues.notes()["train: segments that end after the stated duration"]
    else:
        with pytest.raises(PreparationError, match="expected seconds, at least 0"):
            parse_segment([0, value], "f", issues, "train", 5.0)
