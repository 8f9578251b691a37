"""ActivityNet-QA annotations: questions, and their answers with a numbered type in a separate file.

    train_q.json    [{"video_name": "1QIUV7WYKXg", "question": "is ...", "question_id": "v_1QIUV7WYKXg_3"}, ...]
    train_a.json    [{"answer": "no", "type": 3, "question_id": "v_1QIUV7WYKXg_3"}, ...]

and the same for val and test. The files have no question marks, and none are added, since no other format has them.
"""

import argparse

from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import entries_of
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec, field
from svilm_data.annotations.questions import SPLITS, QuestionRow, normalize_whitespace, question_annotations
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Question

# By number, with the names of the official evaluation; 3 to 8 together are its "free" questions.
TYPES = (
    *("Motion", "Spatial Relationship", "Temporal Relationship", "Yes/No", "Color", "Object", "Location"),
    *("Number", "Other"),
)
# Yu et al., AAAI 2019.
PUBLISHED = {
    "train questions": 32_000,
    "train videos": 3_200,
    "validation questions": 18_000,
    "validation videos": 1_800,
    "test questions": 8_000,
    "test videos": 800,
}


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads all files; raises PreparationError for invalid content."""
    rows: dict[str, list[QuestionRow]] = {}
    notes = {}
    for split, short in SPLITS.items():
        questions, answers = (files.find_optional(f"{short}_{part}.json", f"{short}_{part}.*json") for part in "qa")
        if questions is None and answers is None:
            notes[f"{split} questions"] = f"not found (expected {short}_q.json): prepared without this split"
        elif questions is None or answers is None:
            present, missing = (answers, "q") if questions is None else (questions, "a")
            raise PreparationError(
                f"{present.where if present else files.root}: no {short}_{missing}.json: expected both files or neither"
            )
        else:
            rows[split] = _join_answers(questions, answers)
    if not rows:
        raise PreparationError(
            f"--annotations {files.root}: no questions: expected train_q.json and train_a.json, and the same for val "
            "and test; plain, .gz or in an archive"
        )
    return question_annotations(rows, _names, PUBLISHED, notes)


def _join_answers(questions: OfficialFile, answers: OfficialFile) -> list[QuestionRow]:
    """Returns the questions in file order, each with its answer."""
    answer_of: dict[str, tuple[str, str]] = {}
    for where, entry in entries_of(answers.json(), answers.where):
        number = field(entry, "question_id", str, where)
        if number in answer_of:
            raise PreparationError(f"{where}, field 'question_id': {number} occurs twice; expected one answer each")
        kind = field(entry, "type", int, where)
        if not 0 <= kind < len(TYPES):
            raise PreparationError(f"{where}, field 'type': expected 0 to {len(TYPES) - 1}, got {kind}")
        answer_of[number] = (normalize_whitespace(field(entry, "answer", str, where)), TYPES[kind])
    rows = []
    for where, entry in entries_of(questions.json(), questions.where):
        number = field(entry, "question_id", str, where)
        if number not in answer_of:
            raise PreparationError(f"{where}, field 'question_id': {number} has no answer in {answers.name}")
        answer, kind_name = answer_of[number]
        name = field(entry, "video_name", str, where).strip().removeprefix("v_")
        if not name:
            raise PreparationError(f"{where}, field 'video_name': expected the id of a video, got an empty string")
        question = Question(normalize_whitespace(field(entry, "question", str, where)), answer, kind_name, number)
        rows.append(QuestionRow(where, f"v_{name}", question, number))
    if unasked := sorted(answer_of.keys() - {item.number for item in rows}):
        raise PreparationError(f"{answers.where}: question_id {unasked[0]} is not a question of {questions.name}")
    return rows


def _names(video: str) -> tuple[str, ...]:
    return (video, video.removeprefix("v_"))


DATASET = DatasetSpec(
    name="activitynet_qa",
    help="ActivityNet-QA: 58,000 questions written by people about 5,800 long videos of ActivityNet",
    files="train_q.json and train_a.json, and the same for val and test, for the requested splits",
    read=read,
)
