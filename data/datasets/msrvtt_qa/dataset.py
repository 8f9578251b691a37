"""MSRVTT-QA annotations: single-answer questions about the videos of MSR-VTT, on its full split.

One file per split in any format of `questions`; officially train_qa.json, val_qa.json and test_qa.json. Splits without
a file are left out: the test questions alone make a dataset for evaluation.
"""

import argparse

from svilm_data.annotations.official_files import OfficialFiles
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec
from svilm_data.annotations.questions import question_annotations, read_question_files
from svilm_data.datasets.msrvtt import record_id, video_names

# Xu et al., ACM MM 2017. Types as counted in the val and test files; those of the training split are not checked,
# because its file was not available to count them.
PUBLISHED = {
    "train questions": 158_581,
    "train videos": 6_513,
    "validation questions": 12_278,
    "validation videos": 497,
    "validation questions: what": 8_337,
    "validation questions: who": 3_439,
    "validation questions: how": 344,
    "validation questions: when": 106,
    "validation questions: where": 52,
    "test questions": 72_821,
    "test videos": 2_990,
    "test questions: what": 49_869,
    "test questions: who": 20_385,
    "test questions: how": 1_640,
    "test questions: when": 677,
    "test questions: where": 250,
}


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads all files; raises PreparationError for invalid content."""
    rows, notes = read_question_files(files, record_id)
    return question_annotations(rows, video_names, PUBLISHED, notes)


DATASET = DatasetSpec(
    name="msrvtt_qa",
    help="MSRVTT-QA: 243,680 open-ended questions about the 10,000 clips of MSR-VTT",
    files="train_qa.json, val_qa.json and test_qa.json (or the same as .jsonl or .csv), for the requested splits",
    read=read,
)
