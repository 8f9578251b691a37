"""Readers of published video-question-answering files: questions, reference answers and predictions."""

import dataclasses
from pathlib import Path
from typing import Any

from svilm_jax.evaluation.question_answering.metrics import question_kind
from svilm_jax.evaluation.score_files import ScoreError, field, read_json, rows, string, table

# ActivityNet-QA's answer types, as named by its own evaluation (Yu et al., AAAI 2019).
ACTIVITYNET_QA_TYPES = (
    "motion",
    "spatial relation",
    "temporal relation",
    "yes/no",
    "color",
    "object",
    "location",
    "number",
    "other",
)
_IDS = ("question_id", "id", "qid")
_TYPES = ("type", "answer_type")


@dataclasses.dataclass(frozen=True)
class PublishedQuestion:
    """A question with its correct answer.

    Attributes:
      id: unique in its file.
      answer: the correct one.
      kind: the type given by the file, else by the question's first word; "" if neither is known.
    """

    id: str
    answer: str
    kind: str


def read_questions(path: str | Path, texts: str | Path | None = None) -> list[PublishedQuestion]:
    """Reads questions with correct answers, in file order.

    Formats, gzipped or not: a list (or, named `.jsonl`, lines) of objects with "answer" and "id", "question_id" or
    "qid", and optionally "question" and "type" or "answer_type". This covers MSVD-QA and MSRVTT-QA (with id and
    question) and ActivityNet-QA's answers (with question_id and type). If no row has an id, as in the files of ClipBERT
    and ALPRO, the row number from 0 is the id.

    Args:
      path: the file with answers.
      texts: ActivityNet-QA's other file, with "question_id" and "question"; types are then by the first word.

    Raises:
      ScoreError: another format, no rows, a duplicate id, an answer without its question in `texts`.
    """
    entries = _entries(path)
    question_of = {id_: _text(entry, f"{texts}") for id_, entry in _by_id(texts).items()} if texts is not None else {}
    found = []
    for id_, entry in _by_id(path, entries).items():
        where = f"{path}: question {id_!r}"
        answer = string(field(entry, "answer", where), f"{where}: answer")
        if texts is not None:
            if id_ not in question_of:
                raise ScoreError(f"{texts}: no question {id_!r}, for which {path} has an answer")
            kind = question_kind(question_of[id_])
        else:
            kind = _kind(entry, where)
        found.append(PublishedQuestion(id_, answer, kind))
    return found


def read_predictions(path: str | Path) -> dict[str, str]:
    """Reads id -> predicted answer, from `{id: answer}` or a list (or `.jsonl` lines) of objects with id and "answer".

    Raises:
      ScoreError: another format, or a duplicate id.
    """
    content = read_json(path)
    if isinstance(content, dict):
        return {id_: string(answer, f"{path}: {id_!r}") for id_, answer in content.items()}
    entries = [table(entry, f"{path}: row {place}") for place, entry in enumerate(rows(content, f"{path}"))]
    return {
        id_: string(field(entry, "answer", f"{path}: {id_!r}"), f"{path}: {id_!r}: answer")
        for id_, entry in _by_id(path, entries, numbered=False).items()
    }


def read_answers(path: str | Path) -> list[str]:
    """Reads the answers of a file in a format of `read_questions`, or of a plain list of answers.

    Raises:
      ScoreError: neither.
    """
    found = []
    for place, entry in enumerate(rows(read_json(path), f"{path}")):
        where = f"{path}: row {place}"
        found.append(string(field(entry, "answer", where) if isinstance(entry, dict) else entry, where))
    return found


def _entries(path: str | Path) -> list[dict[str, Any]]:
    entries = [table(entry, f"{path}: row {place}") for place, entry in enumerate(rows(read_json(path), f"{path}"))]
    if not entries:
        raise ScoreError(f"{path}: no questions")
    return entries


def _by_id(
    path: str | Path, entries: list[dict[str, Any]] | None = None, numbered: bool = True
) -> dict[str, dict[str, Any]]:
    entries = _entries(path) if entries is None else entries
    given = [next((entry[key] for key in _IDS if key in entry), None) for entry in entries]
    if numbered and all(id_ is None for id_ in given):
        given = list(range(len(entries)))
    found: dict[str, dict[str, Any]] = {}
    for place, (id_, entry) in enumerate(zip(given, entries, strict=True)):
        if id_ is None:
            raise ScoreError(f"{path}: row {place}: no id; expected one of {', '.join(_IDS)}")
        key = string(id_, f"{path}: row {place}: id")
        if key in found:
            raise ScoreError(f"{path}: row {place}: id {key!r} occurs twice")
        found[key] = entry
    return found


def _text(entry: dict[str, Any], where: str) -> str:
    return string(field(entry, "question", where), f"{where}: question")


def _kind(entry: dict[str, Any], where: str) -> str:
    for key in _TYPES:
        if key in entry:
            given = entry[key]
            if isinstance(given, int) and 0 <= given < len(ACTIVITYNET_QA_TYPES):
                return ACTIVITYNET_QA_TYPES[given]
            return string(given, f"{where}: {key}")
    return question_kind(_text(entry, where)) if "question" in entry else ""
