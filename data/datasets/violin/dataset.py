"""True and false statements of VIOLIN.

`violin_train_release.jsonl`, `violin_val_release.jsonl`, `violin_test_release.jsonl`, as in the VALUE benchmark:
`{paired_id, vid_name, statement, answer}` per line, 1 for true and 0 for false. A statement becomes a question with the
answer "true" or "false"; most statements come in pairs that differ in a few words.
"""

import argparse
import collections
from collections.abc import Iterator

from svilm_data.annotations.moments import SegmentIssues, sentence
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import json_lines
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec, facts, field
from svilm_data.annotations.split_files import in_one_split, split_files
from svilm_data.annotations.television import by_group, clip
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
    odd = SegmentIssues()
    splits, counts = {}, {}
    for split, file in found.items():
        said: dict[str, list[Question]] = {}
        for video, question in _statements(file, split, odd):
            said.setdefault(video, []).append(question)
        _count_repeated(said, split, odd)
        splits[split] = by_group(clip(video, "_clip_", tuple(statements)) for video, statements in said.items())
        counts[f"{split} videos"] = len(said)
        counts[f"{split} statements"] = sum(map(len, said.values()))
        notes[f"{split}: true statements"] = f"{sum(s.answer == 'true' for every in said.values() for s in every):,}"
    in_one_split(splits)
    return Annotations(splits=splits, facts=facts(counts, PUBLISHED), notes=notes | odd.notes())


def _statements(file: OfficialFile, split: str, odd: SegmentIssues) -> Iterator[tuple[str, Question]]:
    ids: set[str] = set()
    for where, row in json_lines(file):
        name = field(row, "paired_id", str, where)
        if name in ids:
            raise PreparationError(f"{where}, field 'paired_id': {name!r} occurs twice in this file")
        ids.add(name)
        text = sentence(field(row, "statement", str, where), where)
        answer = ""
        if "answer" not in row:
            odd.count(f"{split}: statements without an answer", "stored with an empty one")
        elif (value := field(row, "answer", int, where)) not in ANSWERS:
            raise PreparationError(f"{where}, field 'answer': expected 0 or 1, got {value!r}")
        else:
            answer = ANSWERS[value]
        yield field(row, "vid_name", str, where), Question(text, answer, KIND)


def _count_repeated(said: dict[str, list[Question]], split: str, odd: SegmentIssues) -> None:
    for statements in said.values():
        answers = collections.defaultdict(list)
        for statement in statements:
            answers[statement.question].append(statement.answer)
        for given in answers.values():
            same = len(set(given)) == 1
            what = "stated again of the same clip" if same else "called both true and false of the same clip"
            odd.count(f"{split}: statements {what}", "kept", len(given) - 1)


DATASET = DatasetSpec(
    name="violin",
    help="VIOLIN: true and false statements about clips of films and series; splits train, validation, test",
    files="violin_train_release.jsonl, violin_val_release.jsonl and violin_test_release.jsonl",
    read=read,
)
