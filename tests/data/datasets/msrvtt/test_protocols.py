"""Tests of the MSR-VTT protocols: the lists of 7k, 9k and 1k-A as views, caption by caption."""

import csv
import json
import zipfile

import pytest
from svilm_data.datasets.msrvtt import DATASET
from svilm_data.pipeline.errors import PreparationError

from tests.data.datasets.msrvtt.test_dataset import TEST, TRAIN_VAL, document, video
from tests.data.official_cases import counts, read, write, wrong

SAID = ["a dog runs", "a  black-and-white Cat", "a bird", "a bird"]
HEADER = "key,vid_key,video_id,sentence\n"


@pytest.fixture
def folder(tmp_path):
    write(
        tmp_path, TRAIN_VAL, document([video(0, "train"), video(6513, "validate")], ("video0", "a"), ("video6513", "b"))
    )
    sentences = [("video7010", text) for text in SAID] + [("video7011", "a dog runs"), ("video7012", "c")]
    write(tmp_path, TEST, document([video(n, "test") for n in (7010, 7011, 7012)], *sentences))
    write(tmp_path, "MSRVTT_train.7k.csv", "video_id\nvideo6513\nvideo0\n")
    write(tmp_path, "MSRVTT_train.9k.csv", "video_id\r\nvideo0\r\nvideo6513\r\nvideo7012\r\n")
    one_k_a(tmp_path, "ret0,msr7011,video7011,a dog runs\nret1,msr7010,video7010,a dog runs\n")
    return tmp_path


def one_k_a(folder, rows):
    return write(folder, "MSRVTT_JSFUSION_test.csv", HEADER + rows)


def test_views_keep_the_order_of_their_lists(folder):
    views = read(DATASET, folder).views
    assert list(views["train_7k"].items()) == [("video6513", None), ("video0", None)]
    assert list(views["train_9k"]) == ["video0", "video6513", "video7012"]
    assert list(views["test_1ka"].items()) == [("video7011", (0,)), ("video7010", (0,))]


@pytest.mark.parametrize(
    ("sentence", "number", "noted"),
    [
        ("a dog runs", 0, False),
        (" A dog  runs", 0, False),
        ("a black-and-white cat", 1, False),
        ("a black and white cat", 1, True),
        ("a bird", 2, False),  # written twice about the video: the same sentence, the first number
    ],
)
def test_a_sentence_is_found_among_the_captions_of_its_video(folder, sentence, number, noted):
    one_k_a(folder, f"ret0,msr7010,video7010,{sentence}\n")
    made = read(DATASET, folder)
    assert made.views["test_1ka"] == {"video7010": (number,)}
    assert ("1k-A, punctuation" in made.notes) is noted


def test_numbers_are_those_of_the_stored_captions(folder):
    sentences = [("video7010", ""), ("video7010", "a dog runs")]
    write(folder, TEST, document([video(7010, "test"), video(7012, "test")], *sentences))
    one_k_a(folder, "ret0,msr7010,video7010,a dog runs\n")
    made = read(DATASET, folder)
    [(name, (number,))] = made.views["test_1ka"].items()
    stored = {item.record.id: item.record for item in made.splits["test"]}
    assert stored[name].captions[number].text == "a dog runs"


def test_a_sentence_of_another_video_is_refused(folder):
    one_k_a(folder, "ret0,msr7010,video7010,a dog runs\nret1,msr7011,video7011,a bird\n")
    with pytest.raises(
        PreparationError, match=r"csv: line 3, field 'sentence': 'a bird' matches none of the 1 captions"
    ):
        read(DATASET, folder)


def test_a_sentence_that_fits_several_captions_is_refused(folder):
    write(folder, TEST, document([video(7010, "test")], ("video7010", "a t-shirt"), ("video7010", "a t:shirt")))
    one_k_a(folder, "ret0,msr7010,video7010,a t shirt\n")
    with pytest.raises(
        PreparationError, match=r"line 2, field 'sentence'.*captions \[0, 1\] of video7010, which differ"
    ):
        read(DATASET, folder)


def test_sentences_that_several_videos_share_are_noted(folder):
    assert read(DATASET, folder).notes["1k-A, shared sentences"] == "1 belong to several videos: 1 are distinct"


def test_a_video_may_not_be_trained_and_tested_on(folder):
    write(folder, "MSRVTT_train.9k.csv", "video_id\nvideo0\nvideo7010\n")
    with pytest.raises(PreparationError, match=r"video7010 is also in a training list \(.*9k\.csv: line 3\)"):
        read(DATASET, folder)


def test_lists_that_are_not_there_make_no_view(folder):
    for name in ("MSRVTT_train.7k.csv", "MSRVTT_JSFUSION_test.csv"):
        (folder / name).unlink()
    made = read(DATASET, folder)
    assert set(made.views) == {"train_full", "validation_full", "test_full", "train_9k"}
    assert made.notes["train_7k"] == "not found: MSRVTT_train.7k.csv: prepared without this view"
    assert "test_1ka videos" not in made.counts


def test_videos_of_no_annotation_file_are_counted(folder):
    write(folder, "MSRVTT_train.9k.csv", "video_id\nvideo0\nvideo77\n")
    made = read(DATASET, folder)
    assert list(made.views["train_9k"]) == ["video0"]
    assert made.notes["train_9k"] == "1 of its videos (video77) are in no annotation file; left out"
    assert wrong(made)["train_9k videos"] == (1, 9000)


def test_a_view_is_left_out_where_its_annotation_is_not_there(folder):
    (folder / TEST).unlink()
    made = read(DATASET, folder)
    assert set(made.views) == {"train_full", "validation_full", "train_7k"}
    assert made.notes["train_9k"].startswith("left out: 1 of its 3 videos")
    assert made.notes["test_1ka"].startswith("left out: 2 of its 2 videos")
    assert "train_9k videos" not in counts(made)


def test_full_lists_have_to_agree_with_the_annotation(folder):
    write(folder, "MSRVTT_val.full.csv", "video_id\nvideo6513\n")
    write(folder, "MSRVTT_test.full.csv", "video_id\nvideo7010\nvideo0\n")
    with pytest.raises(PreparationError, match=r"test\.full\.csv: line 3: video0 is a train video in the annotation"):
        read(DATASET, folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"line 1 \(the header\): expected one column 'video_id'; there are none"),
        ("video\nvideo0\n", r"line 1 \(the header\): expected one column 'video_id'; there are 'video'"),
        ("video_id\nvideo0,1\n", r"line 2: expected 1 fields as in the header, got 2"),
        ("video_id\nmsr0\n", r"line 2, field 'video_id': expected a video from video0 to video9999"),
        ("video_id\nvideo00\n", r"line 2, field 'video_id': expected a video from video0 to video9999"),
        ("video_id\nvideo0\n\nvideo0\n", r"line 4, field 'video_id': video0 occurs before"),
        ('video_id\n"video0\n', r"line 2: expected CSV"),
        (b"video_id\nvid\xe9o0\n", r"line 2: expected UTF-8"),
    ],
)
def test_a_list_that_does_not_fit_is_named(folder, content, message):
    write(folder, "MSRVTT_train.7k.csv", content)
    with pytest.raises(PreparationError, match=r"MSRVTT_train\.7k\.csv: " + message):
        read(DATASET, folder)


def test_an_empty_sentence_is_refused(folder):
    one_k_a(folder, "ret0,msr7010,video7010, \n")
    with pytest.raises(
        PreparationError, match=r"line 2, field 'sentence': expected a caption of video7010, got an empty"
    ):
        read(DATASET, folder)


def test_every_official_row_names_the_sentence_that_it_quotes(realdata, official):
    """1k-A has 995 distinct sentences in 1,000 rows; 965 stand in the annotation as they are."""
    folder, made = realdata / "annotations" / "msrvtt", official
    assert made.notes["1k-A, shared sentences"] == "4 belong to several videos: 995 are distinct"
    assert made.notes["1k-A, punctuation"].startswith("12 sentences lack the punctuation")
    with zipfile.ZipFile(folder / "test_videodatainfo.json.zip") as archive:
        sentences = json.loads(archive.read(TEST))["sentences"]
    said = {}
    for row in sentences:
        said.setdefault(row["video_id"], []).append(row["caption"])
    with (folder / "MSRVTT_JSFUSION_test.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    view = made.views["test_1ka"]
    assert list(view) == [row["video_id"] for row in rows]
    verbatim = 0
    for row in rows:
        (number,) = view[row["video_id"]]
        caption = said[row["video_id"]][number]
        letters = ["".join(filter(str.isalnum, text)) for text in (caption, row["sentence"])]
        assert letters[0] == letters[1], row
        if row["sentence"] in said[row["video_id"]]:
            assert caption == row["sentence"]
            verbatim += 1
    assert (len(rows), verbatim) == (1000, 965)


def test_the_9k_list_trains_on_all_that_1k_a_does_not_test(official):
    made = official
    trained, tested = set(made.views["train_9k"]), set(made.views["test_1ka"])
    full = {split: {item.record.id for item in wanted} for split, wanted in made.splits.items()}
    assert trained | tested == set().union(*full.values())
    assert not trained & tested
    assert len(trained & full["test"]) == 1990
    assert set(made.views["train_7k"]) == full["train"] | full["validation"]
