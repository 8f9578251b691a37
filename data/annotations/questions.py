"""Questions about videos: readers of the formats of MSRVTT-QA and MSVD-QA, and records of all such datasets.

Each format has one question per row:

    train_qa.json   [{"answer": "couch", "id": 158581, "question": "what ... on?", "video_id": 6513}, ...]  (official)
    train.jsonl     {"answer": "couch", "question": "what ... on?", "video_id": "video6513", "answer_type": "what"}
    train.csv       video,question,answer,qid,type      without question marks; `type` is the category of the video

One of them is read per split. Question marks, which the CSV files lack, are restored, so that the model's input depends
neither on who packaged the files nor on the split in a mixed download.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import csv_rows, entries_of, json_lines
from svilm_data.annotations.published_dataset import Annotations, CountCheck, VideoAnnotation, count_checks, field
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Question, Record

SPLITS = {"train": "train", "validation": "val", "test": "test"}  # split -> its name in file names
QUESTION_TYPES = ("what", "who", "how", "when", "where")  # the types by which results are published
OTHER = "other"


@dataclasses.dataclass(frozen=True)
class QuestionRow:
    """One row of a file.

    Attributes:
      where: location for errors.
      video: record id of the video.
      question: question and answer with normalized whitespace; one of them may be empty.
      number: id of the question in the file; "" if it has none.
    """

    where: str
    video: str
    question: Question
    number: str = ""


def question_type(question: str) -> str:
    """Returns the question type: its first word if that is in `QUESTION_TYPES`, else "other"."""
    first = question.lower().split(" ", 1)[0].rstrip("?")
    return first if first in QUESTION_TYPES else OTHER


def normalize_whitespace(text: str) -> str:
    """Normalizes whitespace to single blanks, with none at the ends."""
    return " ".join(text.split())


def read_question_files(
    files: OfficialFiles, record_id: Callable[[Any, str], str]
) -> tuple[dict[str, list[QuestionRow]], dict[str, str]]:
    """Reads the questions of all splits with a file, in any of the formats above.

    Args:
      files: all annotation files.
      record_id: (video as named by the file, where) -> record id; raises PreparationError for an invalid name.

    Returns:
      Split -> its questions in file order, and notes.

    Raises:
      PreparationError: no file of any split, or one in another format.
    """
    questions: dict[str, list[QuestionRow]] = {}
    notes = {}
    restored = 0
    for split, short in SPLITS.items():
        file = files.find_optional(*_forms(short))
        if file is None:
            notes[f"{split} questions"] = f"not found (expected {_forms(short)[0]}): prepared without this split"
            continue
        others = [other.name for other in files.find(*_forms(short)) if other != file]
        if others:
            notes[f"{split} questions"] = f"read from {file.name}; not read: {', '.join(others)}"
        questions[split] = []
        for item in _rows(file, record_id):
            text = item.question.question
            if text and not text.endswith("?"):
                restored += 1
                item = dataclasses.replace(item, question=dataclasses.replace(item.question, question=text + "?"))
            questions[split].append(item)
    if not questions:
        names = ", ".join(_forms(short)[0] for short in SPLITS.values())
        raise PreparationError(f"--annotations {files.root}: no questions: expected any of {names}, or .jsonl or .csv")
    if restored:
        notes["question marks"] = f"restored in {restored:,} questions"
    return questions, notes


def question_annotations(
    questions: Mapping[str, Sequence[QuestionRow]],
    names: Callable[[str], tuple[str, ...]],
    published: Mapping[str, int],
    notes: Mapping[str, str],
) -> Annotations:
    """Builds one record per video, with its questions in file order; videos in the order of their first question.

    Args:
      questions: split -> questions.
      names: record id -> names of its video file.
      published: name -> count; "SPLIT questions", "SPLIT videos" and "SPLIT questions: KIND" are counted.
      notes: further notes.

    Raises:
      PreparationError: a duplicate question id in a split, or a video in two splits.
    """
    notes = dict(notes)
    checks: dict[str, CountCheck] = {}
    splits: dict[str, list[VideoAnnotation]] = {}
    owner: dict[str, str] = {}
    empty = repeated = 0
    for split, items in questions.items():
        of_video: dict[str, list[Question]] = {}
        numbers: set[str] = set()
        seen: set[tuple[str, str, str]] = set()
        for item in items:
            if item.number in numbers:
                raise PreparationError(f"{item.where}: question id {item.number} occurs twice in the {split} split")
            numbers |= {item.number} - {""}
            if owner.setdefault(item.video, split) != split:
                raise PreparationError(
                    f"{item.where}: video {item.video} has questions in the {split} and in the {owner[item.video]} "
                    "split; expected it in one of them"
                )
            row = (item.video, item.question.question, item.question.answer)
            repeated += row in seen
            seen.add(row)
            members = of_video.setdefault(item.video, [])
            if item.question.question and item.question.answer:
                members.append(item.question)
            else:
                empty += 1
        counts = {f"{split} questions": len(items), f"{split} videos": len(of_video)}
        kinds = collections.Counter(item.question.kind for item in items)
        counts |= {f"{split} questions: {kind}": count for kind, count in sorted(kinds.items(), key=lambda k: -k[1])}
        checks |= count_checks(counts, published)
        splits[split] = [
            VideoAnnotation(Record(id=video, video=b"", questions=tuple(members)), names(video))
            for video, members in of_video.items()
        ]
    if repeated:
        notes["repeated questions"] = f"{repeated:,} occur more than once with the same answer, as published; kept"
    if empty:
        notes["empty questions or answers"] = f"{empty:,} left out"
    return Annotations(splits=splits, counts=checks, notes=notes)


def _forms(short: str) -> tuple[str, ...]:
    """Returns the possible names of a split's file, the official one first."""
    return (
        *(f"{short}_qa.json", f"*{short}_qa*.json", f"{short}_qa.*json", f"*qa_{short}*.json"),
        *(f"{short}.jsonl", f"*qa*{short}*.jsonl", f"*{short}_qa*.jsonl"),
        *(f"{short}.csv", f"hqga_{short}.csv", f"*qa*{short}*.csv", f"*{short}_qa*.csv"),
    )


def _rows(file: OfficialFile, record_id: Callable[[Any, str], str]) -> Iterator[QuestionRow]:
    if file.name.lower().endswith(".csv"):
        for where, row in csv_rows(file, ("video", "question", "answer")):
            number = row.get("qid", "")
            yield _question_row(where, record_id(row["video"], f"{where}, field 'video'"), row, number)
        return
    for where, entry in (
        json_lines(file) if file.name.lower().endswith(".jsonl") else entries_of(file.json(), file.where)
    ):
        number = str(field(entry, "id", (int, str), where)) if "id" in entry else ""
        video = field(entry, "video_id", (int, str), where)
        yield _question_row(where, record_id(video, f"{where}, field 'video_id'"), entry, number)


def _question_row(where: str, video: str, row: Mapping[str, Any], number: str) -> QuestionRow:
    question = normalize_whitespace(field(row, "question", str, where))
    answer = normalize_whitespace(field(row, "answer", str, where))
    return QuestionRow(where, video, Question(question, answer, question_type(question), number), number)
