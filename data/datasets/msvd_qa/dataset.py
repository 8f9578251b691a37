"""MSVD-QA annotations: single-answer questions about the clips of MSVD, on a split that differs from MSVD's.

One file per split in any format of `questions`; officially train_qa.json, val_qa.json and test_qa.json with
youtube_mapping.txt. Clips are split by number: 1 to 1200, 1201 to 1450 and 1451 to 1970. vid1301 to vid1450 are test
clips of the caption split and validation clips here, which is why these are two datasets.
"""

import argparse

from svilm_data.annotations.official_files import OfficialFiles
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec
from svilm_data.annotations.questions import question_annotations, read_question_files
from svilm_data.datasets.msvd import read_mapping, record_number

# Xu et al., ACM MM 2017. The paper counts 1,200, 250 and 520 clips; 39, 5 and 16 of them have no question, so that
# the numbers of clips have no published counterpart.
PUBLISHED = {
    "train questions": 30_933,
    "train questions: what": 19_485,
    "train questions: who": 10_479,
    "train questions: how": 736,
    "train questions: when": 161,
    "train questions: where": 72,
    "validation questions": 6_415,
    "validation questions: what": 3_995,
    "validation questions: who": 2_168,
    "validation questions: how": 185,
    "validation questions: when": 51,
    "validation questions: where": 16,
    "test questions": 13_157,
    "test questions: what": 8_149,
    "test questions: who": 4_552,
    "test questions: how": 370,
    "test questions: when": 58,
    "test questions: where": 28,
}


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads all files; raises PreparationError for invalid content."""
    mapping = read_mapping(files)
    rows, notes = read_question_files(files, record_number)
    if not mapping.clip:
        notes["names"] = "not found: youtube_mapping.txt: videos named FILM_START_END are not recognized"

    def names(video: str) -> tuple[str, ...]:
        return (video, mapping.clip[video]) if video in mapping.clip else (video,)

    return question_annotations(rows, names, PUBLISHED, notes)


DATASET = DatasetSpec(
    name="msvd_qa",
    help="MSVD-QA: 50,505 open-ended questions about the clips of MSVD",
    files="train_qa.json, val_qa.json and test_qa.json (or the same as .jsonl or .csv), for the requested splits, "
    "and youtube_mapping.txt (for videos named FILM_START_END)",
    read=read,
)
