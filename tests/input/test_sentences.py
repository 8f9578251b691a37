"""Tests of the sentences of multi-level alignment, and of datasets that lack them."""

import re

import pytest

from svilm_jax.config import ConfigError, InputConfig, resolve
from svilm_jax.input.schema import Caption, Question, Record
from svilm_jax.input.sentences import SentenceFacts, answered, sentence_facts, split_clauses
from svilm_jax.objectives.multilevel_alignment import MultilevelAlignment


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("a man cuts an onion and then fries it", ("a man cuts an onion", "fries it")),
        ("a dog runs, then jumps; finally it sleeps.", ("a dog runs", "jumps", "finally it sleeps")),
        ("she opens the box. she takes a ring", ("she opens the box", "she takes a ring")),
        ("the ball rolls before stopping at the wall", ("the ball rolls", "stopping at the wall")),
        ("a cat, and two dogs play", ("a cat", "two dogs play")),
        ("he waves, then leaves", ("he waves", "leaves")),
        ("he leaves, then", ("he leaves, then",)),
        ("a red square slides left and a circle turns", ("a red square slides left and a circle turns",)),
        ("authentic food", ("authentic food",)),
        ("", ("",)),
    ],
)
def test_clauses_follow_each_other_in_time(text, clauses):
    assert split_clauses(text) == clauses


def test_a_question_is_aligned_with_its_answer():
    assert answered(Question("what color is it", "red")).text == "what color is it red"


def record(**fields):
    return Record(id="x", video=b"", **fields)


@pytest.mark.parametrize(
    ("source", "records", "facts"),
    [
        ("captions", [record(), record()], (2, 0, 0, 0)),
        ("captions", [record(captions=(Caption("a"), Caption("b"))), record()], (2, 1, 0, 0)),
        ("captions", [record(captions=(Caption("a", (), 0.0, 1.0), Caption("b")))], (1, 1, 1, 0)),
        ("clauses", [record(captions=(Caption("a man runs, then he falls"),))], (1, 1, 0, 1)),
        ("clauses", [record(captions=(Caption("a man"),))], (1, 1, 0, 0)),
        ("question", [record(questions=(Question("a", "b"),)), record(captions=(Caption("a"),))], (2, 1, 0, 0)),
    ],
)
def test_a_sample_is_counted(source, records, facts):
    assert sentence_facts(records, InputConfig(sentences=source)) == SentenceFacts(source, *facts)


@pytest.mark.parametrize(
    ("facts", "weights", "message"),
    [
        (("captions", 9, 0, 0, 0), (1.0, 0.0), "none of 9 records of the dataset has captions.*sentences='question'"),
        (("question", 9, 0, 0, 0), (1.0, 0.0), "none of 9 records of the dataset has questions"),
        (("captions", 9, 9, 0, 0), (1.0, 1.0), "segment_weight=1 needs sentences with times.*set segment_weight=0"),
        (("question", 9, 9, 0, 0), (0.0, 1.0), "segment_weight=1 needs sentences with times"),
        (("clauses", 9, 9, 0, 0), (0.0, 1.0), "segment_weight=1 needs"),
        (("captions", 9, 9, 0, 0), (1.0, 0.0), ""),
        (("captions", 9, 9, 1, 0), (1.0, 1.0), ""),
        (("clauses", 9, 9, 0, 4), (0.0, 1.0), ""),
        (("question", 9, 9, 0, 0), (1.0, 0.0), ""),
    ],
)
def test_a_level_that_the_dataset_cannot_fill_is_refused(facts, weights, message):
    objective = MultilevelAlignment(global_weight=weights[0], segment_weight=weights[1])
    problem = objective.problem_with(SentenceFacts(*facts))
    assert re.search(message, problem)
    assert bool(problem) == bool(message)


@pytest.mark.parametrize(
    ("options", "task", "message"),
    [
        ({"sentences": "question"}, "video_text", "expected config.task='question_answering'"),
        ({"sentences": "clauses"}, "question_answering", "expected config.task='video_text'"),
        ({"sentences": "clauses", "text": "sentences"}, "video_text", "config.input.text='caption' or 'paragraph'"),
    ],
)
def test_sources_that_do_not_fit_the_task_are_refused(options, task, message):
    with pytest.raises(ConfigError, match=message):
        resolve({"input": options, "task": task})
