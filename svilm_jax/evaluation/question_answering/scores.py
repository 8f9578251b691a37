"""Question answering scores of a file of predictions, against a published ground truth."""

from pathlib import Path
from typing import Any

from svilm_jax.evaluation.question_answering import metrics
from svilm_jax.evaluation.question_answering.published_files import read_answers, read_predictions, read_questions
from svilm_jax.evaluation.score_files import ScoreError


def score_question_answering(
    predictions: Path, ground_truth: Path, train: Path | None = None, questions_file: Path | None = None
) -> dict[str, Any]:
    """Scores predicted answers by exact string match.

    Args:
      predictions: JSON file, {id: answer} or [{"question_id": id, "answer": answer}].
      ground_truth: JSON or JSON lines of MSVD-QA, MSRVTT-QA or ActivityNet-QA.
      train: answers of the training split, whose vocabulary is counted; None: do not count.
      questions_file: ActivityNet-QA's questions, which determine the types of its answers; None: unknown types.

    Returns:
      {"accuracy": ..., "by_kind": ...} in percent, and counts. A question without a prediction is wrong.

    Raises:
      ScoreError: a file that cannot be read, or predictions of unknown questions.
    """
    questions = read_questions(ground_truth, questions_file)
    answers = read_predictions(predictions)
    if unknown := sorted(answers.keys() - {question.id for question in questions}):
        raise ScoreError(
            f"{predictions}: {len(unknown)} of {len(answers)} ids are not in {ground_truth}, the first "
            f"is {unknown[0]!r}; there, the first is {questions[0].id!r}"
        )
    right = [question.answer for question in questions]
    predicted = [answers.get(question.id) for question in questions]
    by_kind = metrics.accuracy_by_kind(right, predicted, [question.kind or "unknown" for question in questions])
    found: dict[str, Any] = {
        "accuracy": 100 * metrics.accuracy(right, predicted),
        "by_kind": {kind: {"accuracy": 100 * value, "questions": n} for kind, (value, n) in by_kind.items()},
        "unit": "percent",
        "questions": len(questions),
        "without_prediction": sum(answer is None for answer in predicted),
    }
    if train:
        known = set(read_answers(train))
        found["train_answers"] = len(known)
        found["out_of_vocabulary"] = 100 * metrics.out_of_vocabulary_fraction(right, known)
    return found
