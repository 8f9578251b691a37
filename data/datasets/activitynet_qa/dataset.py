"""ActivityNet-QA annotations: questions, and their answers with a numbered type in a separate file.

    train_q.json    [{"video_name": "1QIUV7WYKXg", "question": "is ...", "question_id": "v_1QIUV7WYKXg_3"}, ...]
    train_a.json    [{"answer": "no", "type": 3, "question_id": "v_1QIUV7WYKXg_3"}, ...]

and the same for val and test. The files have no question marks, and none are added, since no other format has them.
"""

import argparse

from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import entries_of
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec, field
from svilm_data.annotations.questions import SPLITS, VideoQuestions, annotated_questions, tidy
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Question

# By number, with the names of the official evaluation; 3 to 8 together are its "free" questions.
KINDS = (
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
    asked: dict[str, list[VideoQuestions]] = {}
    notes = {}
    for split, short in SPLITS.items():
        questions, answers = (files.optional(f"{short}_{part}.json", f"{short}_{part}.*json") for part in "qa")
        if questions is None and answers is None:
            notes[f"{split} questions"] = f"not found (expected {short}_q.json): prepared without this split"
        elif questions is None or answers is None:
            there, missing = (answers, "q") if questions is None else (questions, "a")
            raise PreparationError(
                f"{there.where if there else files.root}: there is no {short}_{missing}.json: expected both, or neither"
            )
        else:
            asked[split] = _joined(questions, answers)
    if not asked:
        raise PreparationError(
            f"--annotations {files.root}: no questions: expected train_q.json and train_a.json, and the same for val "
            "and test; plain, .gz or in an archive"
        )
    return annotated_questions(asked, _names, PUBLISHED, notes)


def _joined(questions: OfficialFile, answers: OfficialFile) -> list[VideoQuestions]:
    """Returns the questions in their order, each with its answer."""
    given: dict[str, tuple[str, str]] = {}
    for where, entry in entries_of(answers.json(), answers.where):
        number = field(entry, "question_id", str, where)
        if number in given:
            raise PreparationError(f"{where}, field 'question_id': {number} occurs twice; expected one answer each")
        kind = field(entry, "type", int, where)
        if not 0 <= kind < len(KINDS):
            raise PreparationError(f"{where}, field 'type': expected 0 to {len(KINDS) - 1}, got {kind}")
        given[number] = (tidy(field(entry, "answer", str, where)), KINDS[kind])
    asked = []
    for where, entry in entries_of(questions.json(), questions.where):
        number = field(entry, "question_id", str, where)
        if number not in given:
            raise PreparationError(f"{where}, field 'question_id': {number} has no answer in {answers.name}")
        answer, kind_name = given[number]
        name = field(entry, "video_name", str, where).strip().removeprefix("v_")
        if not name:
            raise PreparationError(f"{where}, field 'video_name': expected the id of a video, got an empty string")
        question = Question(tidy(field(entry, "question", str, where)), answer, kind_name, number)
        asked.append(VideoQuestions(where, f"v_{name}", question, number))
    if unasked := sorted(given.keys() - {item.number for item in asked}):
        raise PreparationError(f"{answers.where}: question_id {unasked[0]} is no question of {questions.name}")
    return asked


def _names(video: str) -> tuple[str, ...]:
    return (video, video.removeprefix("v_"))


DATASET = DatasetSpec(
    name="activitynet_qa",
    help="ActivityNet-QA: 58,000 questions written by people about 5,800 long videos of ActivityNet",
    files="train_q.json and train_a.json, and the same for val and test, those splits that are wanted",
    read=read,
)
