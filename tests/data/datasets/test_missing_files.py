"""Tests of folders without a dataset's annotation files: the error names the expected ones."""

import argparse

import pytest
from svilm_data.annotations.official_files import OfficialFiles
from svilm_data.annotations.registry import published_datasets
from svilm_data.pipeline.errors import PreparationError

DATASETS = {dataset.name: dataset for dataset in published_datasets()}
# (dataset, arguments, a file that is there and does not help, message)
MISSING = [
    ("activitynet", {"release": "1.3"}, "", r"expected activity_net\.v1-3\*\.json, the TSP tables or the BSN files"),
    ("activitynet_captions", {}, "", r"no sentences: expected one or more of train\.json, val_1"),
    ("activitynet_qa", {}, "", r"no questions: expected train_q\.json and train_a\.json"),
    (
        "charades_sta",
        {},
        "Charades_v1_test.csv",
        r"no sentences: expected one or more of charades_sta_train\.txt",
    ),
    ("didemo", {}, "", r"no descriptions: expected one or more of train_data\.json, val_data"),
    ("hmdb51", {}, "class_list.txt", r"no split file: expected CLASS_test_split1\.txt"),
    ("msrvtt", {}, "", r"no annotation: expected train_val_videodatainfo\.json and test_"),
    ("msrvtt_qa", {}, "", r"no questions: expected any of train_qa\.json, val_qa\.json, test_qa"),
    ("tvqa", {"plus": False}, "tvqa_plus_val.json", r"no questions: expected one or more of tvqa_train\.jsonl"),
    ("tvr", {}, "", r"no queries: expected one or more of tvr_train_release\.jsonl"),
    ("ucf101", {}, "", r"no list of classes: expected classInd\.txt"),
    ("videocc", {}, "", r"no list of VideoCC: expected video_cc_public\.csv"),
    ("violin", {}, "violin_annotation.json", r"no statements: expected one or more of violin_train_release\.jsonl"),
]


@pytest.mark.parametrize(("name", "arguments", "other", "message"), MISSING)
def test_a_folder_without_the_files(tmp_path, name, arguments, other, message):
    if other:
        (tmp_path / other).write_text("[]")
    with pytest.raises(PreparationError, match=message):
        DATASETS[name].read(OfficialFiles(tmp_path), argparse.Namespace(**arguments))
