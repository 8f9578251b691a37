"""Tests of answer accuracy: every question counts once, overall and in its type."""

import collections

import numpy as np
import pytest

from svilm_jax.evaluation.question_answering import metrics


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("what is a man doing?", "what"),
        ("Who sings", "who"),
        ("  how many people", "how"),
        ("when did it happen", "when"),
        ("where?", "where"),
        ("what's that", "what"),
        ("whose hat is red", "other"),
        ("whatever happens", "other"),
        ("is the dog black", "other"),
        ("", "other"),
        ("3 men do what", "other"),
    ],
)
def test_kind_is_the_first_word(question, kind):
    assert metrics.question_kind(question) == kind


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_matches_a_slow_count(seed):
    rng = np.random.default_rng(seed)
    right = rng.choice(["a", "b", "c"], 200).tolist()
    predicted = [None if rng.random() < 0.2 else answer for answer in rng.choice(["a", "b", "c"], 200).tolist()]
    kinds = rng.choice(["what", "who", "how"], 200, p=[0.6, 0.3, 0.1]).tolist()
    hits, counts = collections.Counter(), collections.Counter()
    for answer, guess, kind in zip(right, predicted, kinds, strict=True):
        counts[kind] += 1
        if guess is not None and guess == answer:
            hits[kind] += 1
    assert metrics.accuracy(right, predicted) == sum(hits.values()) / 200
    found = metrics.accuracy_by_kind(right, predicted, kinds)
    assert found == {kind: (hits[kind] / n, n) for kind, n in counts.items()}
    assert list(found) == [kind for kind, _ in counts.most_common()]


def test_a_question_without_a_prediction_is_wrong_and_not_left_out():
    assert metrics.accuracy(["a", "b"], ["a", None]) == 0.5


def test_an_answer_is_the_same_string_or_wrong():
    assert metrics.accuracy(["yes", "yes"], ["Yes", "yes "]) == 0


def test_out_of_vocabulary_counts_questions_and_not_answers():
    assert metrics.out_of_vocabulary_fraction(["a", "z", "z", "b"], ["a", "b", "c"]) == 0.5


def test_no_questions_and_lengths_that_differ_are_errors():
    for call in (
        lambda: metrics.accuracy([], []),
        lambda: metrics.accuracy(["a"], []),
        lambda: metrics.accuracy_by_kind(["a"], ["a"], []),
        lambda: metrics.out_of_vocabulary_fraction([], ["a"]),
    ):
        with pytest.raises(ValueError, match="question"):
            call()
