"""True and false statements of VIOLIN.

`violin_train_release.jsonl`, `violin_val_release.jsonl`, `violin_test_release.jsonl`, as in the VALUE benchmark:
`{paired_id, vid_name, statement, answer}` per line, 1 for true and 0 for false. A statement becomes a question with the
answer "true" or "false"; most statements come in pairs that differ in a few words.
"""

import argparse
import collections
from collections.abc import Iterator

from svilm_data.annotations.grouping import group_adjacent
from svilm_data.annotations.issues import IssueCounter
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import json_lines
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec, count_checks, field
from svilm_data.annotations.segment_times import parse_sentence
from svilm_data.annotations.split_files import check_disjoint, split_files
from svilm_data.annotations.tv_clips import tv_clip
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Question

FILES = {
    "train": ("violin_train_release.jsonl",),
    "validation": ("violin_val_release.jsonl",),
    "test": ("violin_test_release.jsonl",),
}
PUBLISHED = {"train statements": 76_122, "validation statements": 9600, "test statements": 9600}
KIND = "statement"
ANSWERS = {0: "false", 1: "true"}


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads the files that exist.

    Raises:
      PreparationError: there is none, or an invalid statement.
    """
    found, notes = split_files(files, FILES, "statements")
    issues = IssueCounter()
    splits, counts = {}, {}
    for split, file in found.items():
        statements_of: dict[str, list[Question]] = {}
        for video, question in _statements(file, split, issues):
            statements_of.setdefault(video, []).append(question)
        _count_repeated(statements_of, split, issues)
        splits[split] = group_adjacent(
            tv_clip(video, "_clip_", tuple(statements)) for video, statements in statements_of.items()
        )
        counts[f"{split} videos"] = len(statements_of)
        counts[f"{split} statements"] = sum(map(len, statements_of.values()))
        notes[f"{split}: true statements"] = (
            f"{sum(s.answer == 'true' for statements in statements_of.values() for s in statements):,}"
        )
    check_disjoint(splits)
    return Annotations(splits=splits, counts=count_checks(counts, PUBLISHED), notes=notes | issues.notes())


def _statements(file: OfficialFile, split: str, issues: IssueCounter) -> Iterator[tuple[str, Question]]:
    ids: set[str] = set()
    for where, row in json_lines(file):
        name = field(row, "paired_id", str, where)
        if name in ids:
            raise PreparationError(f"{where}, field 'paired_id': {name!r} occurs twice in this file")
        ids.add(name)
        text = parse_sentence(field(row, "statement", str, where), where)
        answer = ""
        if "answer" not in row:
            issues.add(f"{split}: statements without an answer", "stored with an empty answer")
        elif (value := field(row, "answer", int, where)) not in ANSWERS:
            raise PreparationError(f"{where}, field 'answer': expected 0 or 1, got {value!r}")
        else:
            answer = ANSWERS[value]
        yield field(row, "vid_name", str, where), Question(text, answer, KIND)


def _count_repeated(statements_of: dict[str, list[Question]], split: str, issues: IssueCounter) -> None:
    for statements in statements_of.values():
        answers = collections.defaultdict(list)
        for statement in statements:
            answers[statement.question].append(statement.answer)
        for values in answers.values():
            kind = "repeated for the same clip" if len(set(values)) == 1 else "both true and false for the same clip"
            issues.add(f"{split}: statements {kind}", "kept", count=len(values) - 1)


DATASET = DatasetSpec(
    name="violin",
    help="VIOLIN: true and false statements about clips of films and series; splits train, validation, test",
    files="violin_train_release.jsonl, violin_val_release.jsonl and violin_test_release.jsonl",
    read=read,
)
