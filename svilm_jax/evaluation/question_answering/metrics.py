"""Accuracy metrics of open-ended video question answering, overall and per question type.

Scoring follows MSVD-QA, MSRVTT-QA and ActivityNet-QA (docs/method.md, 1.7): an answer is correct if it equals the
reference string, each question counts one point, and the accuracy is over the whole test set. A question without a
prediction counts as wrong, and so does a question whose reference answer is not in the model's answer vocabulary.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

KINDS = ("what", "who", "how", "when", "where")  # question types of MSVD-QA and MSRVTT-QA (Xu et al., 2017)
OTHER = "other"


def question_kind(question: str) -> str:
    """Returns the type of a question by its first word: one of `KINDS`, or "other" ("is the dog black")."""
    found = re.match(r"\s*([a-z]+)", question.lower())
    return found[1] if found and found[1] in KINDS else OTHER


def accuracy(answers: Sequence[str], predictions: Sequence[str | None]) -> float:
    """Returns the fraction of correctly predicted answers, between 0 and 1; None is a question without a prediction.

    Raises:
      ValueError: no questions, or lengths that differ.
    """
    return sum(_right(answers, predictions)) / len(answers)


def accuracy_by_kind(
    answers: Sequence[str], predictions: Sequence[str | None], kinds: Sequence[str]
) -> dict[str, tuple[float, int]]:
    """Returns kind -> (accuracy between 0 and 1, number of questions), the most frequent kind first.

    Args:
      answers: the correct ones.
      predictions: predicted answers of the same questions; None counts as wrong.
      kinds: types of the same questions.

    Raises:
      ValueError: no questions, or lengths that differ.
    """
    right = _right(answers, predictions)
    if len(kinds) != len(right):
        raise ValueError(f"{len(kinds)} kinds for {len(right)} questions")
    of_kind: dict[str, list[bool]] = {}
    for kind, hit in zip(kinds, right, strict=True):
        of_kind.setdefault(kind, []).append(hit)
    ordered = sorted(of_kind.items(), key=lambda item: -len(item[1]))
    return {kind: (sum(hits) / len(hits), len(hits)) for kind, hits in ordered}


def out_of_vocabulary_fraction(answers: Sequence[str], known: Iterable[str] | Mapping[str, int]) -> float:
    """Returns the fraction of answers that are not in `known`, between 0 and 1: no classifier can get these right.

    Raises:
      ValueError: no questions.
    """
    if not answers:
        raise ValueError("no questions")
    known = set(known)
    return sum(answer not in known for answer in answers) / len(answers)


def _right(answers: Sequence[str], predictions: Sequence[str | None]) -> list[bool]:
    if not answers:
        raise ValueError("no questions")
    if len(answers) != len(predictions):
        raise ValueError(f"{len(predictions)} predictions for {len(answers)} questions")
    return [answer == prediction for answer, prediction in zip(answers, predictions, strict=True)]
