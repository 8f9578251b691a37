"""Classification labels of a clip: class indices of answers and actions in the order of the prepared dataset."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from svilm_jax.config import ConfigError, Task
from svilm_jax.input.records import DatasetError, version_folder
from svilm_jax.input.schema import ANSWERS, LABELS, Action, Question, Record

UNKNOWN = -1  # an answer outside the vocabulary: no loss in training, wrong in evaluation


def read_classes(dataset: str | Path, task: Task, max_classes: int = 0) -> tuple[str, ...]:
    """Reads the classes of a task that `svilm prepare` wrote next to the records.

    Answers come from the training split alone, most frequent first; labels in their official order.

    Args:
      dataset: folder of a prepared dataset.
      task: question_answering for answers, action_recognition for labels.
      max_classes: take only the first ones; 0: all.

    Raises:
      DatasetError: the dataset lists none.
    """
    name = ANSWERS if task == "question_answering" else LABELS
    folder = version_folder(dataset)
    path = next((p for p in (folder / name, folder.parent / name) if p.is_file()), None)
    what = "answers of training questions" if name == ANSWERS else "action labels"
    if path is None:
        raise DatasetError(f"{folder.parent}: lists no {what} ({name}): prepare a dataset that has them")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        classes = [str(row[0]) if name == ANSWERS else str(row) for row in rows]
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); prepare the dataset again") from error
    return tuple(classes[:max_classes] if max_classes else classes)


def check_task(task: Task, classes: Sequence[str]) -> None:
    """Raises ConfigError for a task that lacks classes."""
    if task != "video_text" and not classes:
        raise ConfigError(f"config.model.head.classes=(): config.task={task!r} needs those of the dataset")


def numbered(classes: Sequence[str]) -> dict[str, int]:
    """Returns class -> index."""
    return {name: number for number, name in enumerate(classes)}


def choose_question(
    record: Record, numbers: Mapping[str, int], rng: np.random.Generator | None
) -> tuple[Question | None, int]:
    """Returns a random question among those with a known answer, and the index of its answer.

    If no answer is known, any question with `UNKNOWN`; None if the record has no question.
    """
    known = [q for q in record.questions if q.answer in numbers] or list(record.questions)
    if not known:
        return None, UNKNOWN
    question = known[int(rng.integers(len(known))) if rng is not None else 0]
    return question, numbers.get(question.answer, UNKNOWN)


def choose_action(
    record: Record, numbers: Mapping[str, int], rng: np.random.Generator | None
) -> tuple[Action | None, int]:
    """Returns a random action among those with a known label, and its index.

    If no label is known, any action with `UNKNOWN`; None if the record has none.
    """
    known = [a for a in record.actions if a.label in numbers] or list(record.actions)
    if not known:
        return None, UNKNOWN
    action = known[int(rng.integers(len(known))) if rng is not None else 0]
    return action, numbers.get(action.label, UNKNOWN)
