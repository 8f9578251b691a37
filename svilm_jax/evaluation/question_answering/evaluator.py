"""Video question answering evaluator: open-ended accuracy over the whole split (docs/method.md, 1.7).

Candidate answers are those of the training split. A question whose answer is not among them is included and counts
as wrong, and so do the questions about a video that cannot be decoded.
"""

import dataclasses
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from svilm_jax.config import Config, ConfigError
from svilm_jax.config.constraints import CountOrZero, LocalPath, Text
from svilm_jax.config.grades import Chosen
from svilm_jax.evaluation.clips import EvaluationClips, EvaluationError
from svilm_jax.evaluation.metric import Metric, Unit
from svilm_jax.evaluation.question_answering.metrics import (
    accuracy,
    accuracy_by_kind,
    out_of_vocabulary_fraction,
    question_kind,
)
from svilm_jax.evaluation.section import Section
from svilm_jax.inference.encoder import Encoder
from svilm_jax.input.schema import Question

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class QuestionOptions:
    """Options of question answering.

    Attributes:
      dataset: folder of a prepared dataset; "": `config.input.dataset`.
      split: split or view of it.
      limit: use the first N videos; 0: all.
      predictions: JSON output file of the answers, for `svilm score qa`; "": none.
      prefix: prefix of the metric names.
    """

    dataset: Chosen[LocalPath] = ""
    split: Chosen[Text] = "test"
    limit: Chosen[CountOrZero] = 0
    predictions: Chosen[LocalPath] = ""
    prefix: Chosen[Text] = "qa"


class QuestionAnsweringEvaluator:
    """Accuracy overall and per question type, with the most frequent answers as baselines."""

    SECTION = Section(
        "Question answering",
        "Accuracy over all questions of the split; an answer outside the vocabulary counts as wrong. The majority "
        "baselines always give the most frequent answer of the training split, or of each question type in this split.",
        headline="accuracy",
    )

    def __init__(self, options: QuestionOptions, config: Config):
        self.options, self._video, self._head = options, config.model.video, config.model.head
        if config.task != "question_answering":
            raise ConfigError(
                f"evaluator question_answering needs config.task='question_answering', not {config.task!r}"
            )
        self._dataset = options.dataset or config.input.dataset
        self.clips()

    def clips(self) -> EvaluationClips:
        """Returns the videos with questions."""
        return EvaluationClips(self._dataset, self.options.split, self.options.limit, self._video)

    def run(self, encoder: Encoder) -> Iterator[Metric]:
        """Yields the accuracies, and the fractions that bound them.

        - `accuracy` over all questions of the split, with the baselines
          `majority`: always the most frequent answer of the training split;
          `majority_by_kind`: the most frequent answer to questions of that type, chosen with access to the truth, an
          upper bound of blind guesses.
        - `accuracy_KIND` over the questions of a type.
        - `out_of_vocabulary_fraction`: fraction of questions whose answer is outside the answer vocabulary.
        """
        clips, prefix, classes = self.clips(), self.options.prefix, self._head.classes
        questions_of: dict[int, tuple[str, tuple[Question, ...]]] = {}
        hidden = 0
        for number in clips.numbers:
            record = clips.records[number]
            known = tuple(question for question in record.questions if question.answer)
            hidden += len(record.questions) - len(known)
            if known:
                questions_of[number] = (record.id, known)
        if hidden:
            log.warning("%s: %d questions left out, whose answers are not published", clips.split, hidden)
        if not questions_of:
            raise EvaluationError(f"split {clips.split!r}: no questions; prepare a dataset that has them")
        order, decoded = list(questions_of), list[int]()
        texts: list[list[str]] = []

        def frames() -> Iterator[np.ndarray]:
            for position, clip in clips.read(order):
                decoded.append(order[position])
                texts.append([q.question for q in questions_of[order[position]][1]])
                yield clip.frames

        predicted: dict[int, list[str]] = {}
        for place, scores in enumerate(encoder.answers(frames(), texts)):
            predicted[decoded[place]] = [classes[i] for i in scores.argmax(axis=1)]
        answers, predictions, kinds, rows = [], list[str | None](), [], []
        for number, (name, questions) in questions_of.items():
            own = predicted.get(number, [None] * len(questions))  # type: ignore[list-item]
            for place, (question, prediction) in enumerate(zip(questions, own, strict=True)):
                answers.append(question.answer)
                predictions.append(prediction)
                kinds.append(question.kind or question_kind(question.question))
                rows.append({"id": question.id or f"{name}:{place}", "video": name, "answer": prediction or ""})
        if self.options.predictions:
            Path(self.options.predictions).parent.mkdir(parents=True, exist_ok=True)
            Path(self.options.predictions).write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")
        commonest = {kind: Counter(a for a, k in zip(answers, kinds, strict=True) if k == kind) for kind in set(kinds)}
        blind = [commonest[kind].most_common(1)[0][0] for kind in kinds]
        baselines = {
            "majority": accuracy(answers, [classes[0]] * len(answers)),
            "majority_by_kind": accuracy(answers, blind),
        }
        value = accuracy(answers, predictions)
        yield Metric(f"{prefix}/accuracy", value, Unit.FRACTION, higher_is_better=True, baselines=baselines)
        for kind, (fraction, _) in accuracy_by_kind(answers, predictions, kinds).items():
            name = f"{prefix}/accuracy_{kind.replace(' ', '_').replace('/', '_')}"
            yield Metric(name, fraction, Unit.FRACTION, f"accuracy, question type {kind}", True)
        name, unknown = f"{prefix}/out_of_vocabulary_fraction", out_of_vocabulary_fraction(answers, classes)
        yield Metric(name, unknown, Unit.FRACTION, "answers outside the vocabulary", False)
        yield clips.failed_fraction(prefix)
