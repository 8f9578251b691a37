"""Questions and correct answers of TVQA and TVQA+.

TVQA (`tvqa_train.jsonl`, `tvqa_val.jsonl`, `tvqa_test_public.jsonl`) has `{q, a0, ..., a4, answer_idx, vid_name, qid}`
per line, TVQA+ (`tvqa_plus_train.json`, ...) the same in a list. The record keeps the question with the text of the
correct answer; in test files, which have none, the answer is empty. The four wrong answers, the times (`ts`) and the
boxes of TVQA+ are not stored: answers are open-ended here.
"""

import argparse
import re
from collections.abc import Iterator, Mapping
from typing import Any

from svilm_data.annotations.grouping import group_adjacent
from svilm_data.annotations.issues import IssueCounter
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import entries_of, json_lines
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec, count_checks, field
from svilm_data.annotations.segment_times import parse_sentence
from svilm_data.annotations.split_files import check_disjoint, split_files
from svilm_data.annotations.tv_clips import tv_clip
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Question

FILES = {
    "train": ("tvqa_train.jsonl",),
    "validation": ("tvqa_val.jsonl",),
    "test_public": ("tvqa_test_public.jsonl",),
}
FILES_PLUS = {
    "train": ("tvqa_plus_train.json",),
    "validation": ("tvqa_plus_val.json",),
    "test_public": ("tvqa_plus_test_public.json", "tvqa_plus_test.json"),
}
PUBLISHED = {
    "train videos": 17_435,
    "train questions": 122_039,
    "validation videos": 2179,
    "validation questions": 15_253,
    "test_public videos": 1089,
    "test_public questions": 7623,
}
PUBLISHED_PLUS = {
    "train videos": 3364,
    "train questions": 23_545,
    "validation videos": 431,
    "validation questions": 3017,
    "test_public videos": 403,
    "test_public questions": 2821,
}
ANSWERS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the option for TVQA or TVQA+."""
    parser.add_argument("--plus", action="store_true", help="TVQA+, the part of TVQA with boxes, instead of TVQA")


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads the files that exist.

    Raises:
      PreparationError: there is none, or an invalid question.
    """
    found, notes = split_files(files, FILES_PLUS if args.plus else FILES, "questions" + " of TVQA+" * args.plus)
    issues = IssueCounter()
    splits, counts = {}, {}
    for split, file in found.items():
        questions_of: dict[str, list[Question]] = {}
        for video, question in _questions(file, split, issues):
            questions_of.setdefault(video, []).append(question)
        splits[split] = group_adjacent(
            tv_clip(video, "_seg", tuple(questions)) for video, questions in questions_of.items()
        )
        counts[f"{split} videos"] = len(questions_of)
        counts[f"{split} questions"] = sum(map(len, questions_of.values()))
    check_disjoint(splits)
    published = PUBLISHED_PLUS if args.plus else PUBLISHED
    return Annotations(splits=splits, counts=count_checks(counts, published), notes=notes | issues.notes())


def question_type(question: str) -> str:
    """Returns the question type: the first word in lower case, without contractions ("what's")."""
    word = re.search(r"[a-z]+", question.lower())
    return word[0] if word else ""


def _questions(file: OfficialFile, split: str, issues: IssueCounter) -> Iterator[tuple[str, Question]]:
    ids: set[int] = set()
    for where, row in json_lines(file) if file.name.endswith(".jsonl") else entries_of(file.json(), file.where):
        number = field(row, "qid", int, where)
        if number in ids:
            raise PreparationError(f"{where}, field 'qid': {number} occurs twice in this file")
        ids.add(number)
        text = parse_sentence(field(row, "q", str, where), where)
        answers = [parse_sentence(field(row, f"a{i}", str, where), f"{where}, field 'a{i}'") for i in range(ANSWERS)]
        correct = _correct_answer(row, where)
        if correct is None:
            issues.add(f"{split}: questions without an answer", "stored with an empty answer")
        answer = "" if correct is None else answers[correct]
        yield field(row, "vid_name", str, where), Question(text, answer, question_type(text), str(number))


def _correct_answer(row: Mapping[str, Any], where: str) -> int | None:
    """Returns the index of the correct answer, which TVQA+ writes as text; None in a test file."""
    if "answer_idx" not in row:
        return None
    value = field(row, "answer_idx", (int, str), where)
    if str(value) not in map(str, range(ANSWERS)):
        raise PreparationError(f"{where}, field 'answer_idx': expected 0 to {ANSWERS - 1}, got {value!r}")
    return int(value)


DATASET = DatasetSpec(
    name="tvqa",
    help="TVQA and TVQA+: questions about television clips; splits train, validation, test_public",
    files="tvqa_train.jsonl, tvqa_val.jsonl and tvqa_test_public.jsonl, or with --plus tvqa_plus_train.json, "
    "tvqa_plus_val.json and tvqa_plus_test_public.json",
    read=read,
    add_arguments=add_arguments,
    options=("plus",),
)
