"""Tests of the MSVD-QA questions, on their own split, with clips under both of their names."""

import json

import pytest
from svilm_data.annotations.published_dataset import check_counts
from svilm_data.datasets.msvd import DATASET as CAPTIONS
from svilm_data.datasets.msvd_qa import DATASET
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.records import open_records, splits
from svilm_jax.input.schema import Question
from tests.data.official_cases import counts, link, prepare, read, write, wrong

ROW = {"answer": "man", "id": 30933, "question": "who pours?", "video_id": 1429}


def test_the_official_form(tmp_path):
    write(tmp_path, "val_qa.json", [ROW])
    write(tmp_path, "youtube_mapping.txt", "j2Dhf-xFUxU_13_20 vid1429\n")
    made = read(DATASET, tmp_path)
    [item] = made.splits["validation"]
    assert item.record.id == "vid1429"
    assert item.record.questions == (Question("who pours?", "man", "who"),)
    assert item.names == ("vid1429", "j2Dhf-xFUxU_13_20")
    assert "names" not in made.notes


def test_without_the_mapping_videos_go_by_their_number(tmp_path):
    write(tmp_path, "val_qa.json", [ROW])
    made = read(DATASET, tmp_path)
    assert made.splits["validation"][0].names == ("vid1429",)
    assert made.notes["names"].startswith("not found: youtube_mapping.txt")


@pytest.mark.parametrize("video", [0, 1971, "video7", "j2Dhf-xFUxU_13_20"])
def test_what_is_no_clip_is_named(tmp_path, video):
    write(tmp_path, "val_qa.json", [ROW, ROW | {"id": 1, "video_id": video}])
    with pytest.raises(PreparationError, match=r"entry 1, field 'video_id': expected a video from vid1 to vid1970"):
        read(DATASET, tmp_path)


def test_official_splits_are_ranges_of_video_numbers(read_official):
    made = read_official("msvd_qa")  # the paper splits 1,200, 250 and 520 clips, and not all of them have a question
    numbers = {split: [int(item.record.id[3:]) for item in wanted] for split, wanted in made.splits.items()}
    assert all(1 <= n <= 1200 for n in numbers["train"])
    assert all(1201 <= n <= 1450 for n in numbers["validation"])
    assert all(1451 <= n <= 1970 for n in numbers["test"])
    assert not any(kind.endswith(": other") for kind in counts(made))
    assert "question marks" not in made.notes
    assert made.notes["repeated questions"].startswith("18 occur more than once")
    assert all(len(item.names) == 2 for wanted in made.splits.values() for item in wanted)


def test_its_split_is_not_that_of_the_captions(realdata):
    """vid1429 is a test clip of the captions and a validation clip of the questions."""
    asked = read(DATASET, realdata / "annotations" / "msvd_qa")
    said = read(CAPTIONS, realdata / "annotations" / "msvd")
    clip = {item.record.id: item.names[1] for wanted in asked.splits.values() for item in wanted}
    tested = {item.record.id for item in said.splits["test"]}
    assert clip["vid1429"] == "j2Dhf-xFUxU_13_20"
    assert clip["vid1429"] in tested
    shared = {split: sum(clip[i.record.id] in tested for i in wanted) for split, wanted in asked.splits.items()}
    assert shared == {"train": 0, "validation": 147, "test": 504}


def test_real_clips_to_records(realdata, tmp_path):
    annotations, videos = realdata / "annotations" / "msvd_qa", realdata / "videos" / "msvd"
    made = prepare("msvd_qa", annotations, videos, tmp_path, "--max-skipped-fraction", "1")
    assert splits(made) == {"train": 3, "validation": 1, "test": 1}
    [record] = open_records(made, "validation")
    assert record.id == "vid1429"
    assert record.video == (videos / "j2Dhf-xFUxU_13_20.avi").read_bytes()
    rows = json.loads((realdata / "fixtures" / "msvd_qa" / "val_qa.clips.json").read_text())
    assert [(q.question, q.answer) for q in record.questions] == [(row["question"], row["answer"]) for row in rows]
    assert (made / "answers.json").is_file()


def test_cut_down_files_are_read_with_other_counts(realdata, tmp_path):
    fixtures = realdata / "fixtures"
    files = [*(fixtures / "msvd_qa").iterdir(), fixtures / "msvd" / "youtube_mapping.clips.txt"]
    made = read(DATASET, link(tmp_path / "cut", *files))
    assert len(wrong(made)) > 3
    with pytest.raises(PreparationError, match="instead of 30,933"):
        check_counts("msvd_qa", made, allowed=False)
