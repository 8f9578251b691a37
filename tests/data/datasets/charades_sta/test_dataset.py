"""Tests of the Charades-STA sentences: published counts, times, and rejected files."""

import pytest
from svilm_data.datasets.charades_sta import DATASET
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.records import open_records
from tests.data.official_cases import link, prepare, read, timed_captions, write, wrong
from tests.data.weird_videos import write_video

TRAIN = "AAAAA 0.0 6.9##a person is  putting a book on a shelf. \nBBBBB 8.0 7.0##he runs.\nAAAAA 2 2##c# a ## b\n"
TEST = "CCCCC 24.3 30.4##person turn a light on.\n"
LENGTHS = 'id,script,length\nCCCCC,"two\nlines, here",30.0\n'


def small(folder, *, train=TRAIN, test=TEST, lengths=LENGTHS):
    for name, text in (("sta_train.txt", train), ("sta_test.txt", test), ("v1_test.csv", lengths)):
        if text is not None:
            write(folder, ("charades_" if "sta" in name else "Charades_") + name, text)
    return folder


@pytest.fixture(scope="module")
def official(read_official):
    return read_official("charades_sta")


def test_a_turned_official_segment_is_put_right(official):
    (turned,) = [
        caption
        for wanted in official.splits["train"]
        if wanted.record.id == "AKKWU"
        for caption in wanted.record.captions
        if caption.text == "person opens the cabinet." and caption.end == 38
    ]
    assert turned.start == 13


def test_the_head_of_a_file_is_a_part(realdata, tmp_path):
    source = realdata / "fixtures/heads/charades_sta_test.head.txt"
    (link(tmp_path) / "charades_sta_test.txt").symlink_to(source)
    head = read(DATASET, tmp_path)
    assert head.counts["test sentences"].count == len(source.read_text().splitlines()) == 60
    assert head.notes["not found"] == "charades_sta_train.txt"
    assert "test sentences" in wrong(head)


def test_small_files(tmp_path):
    some = read(DATASET, small(tmp_path))
    assert timed_captions(some) == {
        "AAAAA": [("a person is putting a book on a shelf.", 0.0, 6.9), ("c# a ## b", 2.0, 2.0)],
        "BBBBB": [("he runs.", 7.0, 8.0)],
        "CCCCC": [("person turn a light on.", 24.3, 30.4)],
    }
    assert some.notes == {
        "train: durations": "not checked; Charades_v1_train.csv not found",
        "train: segments that end before they start": "1; start and end swapped",
        "train: segments of zero length": "1; kept",
        "test: segments that end after the stated duration": "1; kept",
    }


def test_a_video_without_a_length_is_told(tmp_path):
    some = read(DATASET, small(tmp_path, lengths=LENGTHS.replace("CCCCC", "DDDDD")))
    assert some.notes["test: videos that Charades_v1_test.csv does not list"] == "1; duration not checked"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train": "\nAAAAA 0.0##x\n"}, r"charades_sta_train\.txt: line 2: expected 'VIDEO START END##SENTENCE'"),
        ({"train": "AAAAA 0.0 1.0#x\n"}, r"line 1: expected 'VIDEO START END##SENTENCE', got 'AAAAA 0\.0 1\.0#x'"),
        ({"train": "AAAAA a 1.0##x\n"}, r"line 1, start: expected seconds, got 'a'"),
        ({"train": "AAAAA 0 inf##x\n"}, r"line 1, end: expected seconds, at least 0, got inf"),
        ({"train": "AAAAA 0 1## \n"}, r"line 1: expected a sentence, got ''"),
        ({"test": TRAIN}, r"video 'AAAAA' is in split train and in split test"),
        ({"lengths": LENGTHS.replace("length", "len")}, r"Charades_v1_test\.csv: line 1 .*'length'"),
        (
            {"lengths": LENGTHS.replace("30.0", "x")},
            r"Charades_v1_test\.csv: line 2, length: expected seconds, got 'x'",
        ),
        ({"lengths": LENGTHS + "CCCCC,,3\n"}, r"line 4: video 'CCCCC' occurs twice in this file"),
    ],
)
def test_what_does_not_fit_is_refused_by_file_and_line(tmp_path, changed, message):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(PreparationError, match=message):
        read(DATASET, small(tmp_path, **changed))


def test_timed_captions_come_back_from_records(tmp_path):
    write_video(tmp_path / "videos" / "AAAAA.mp4")
    folder = prepare(
        *("charades_sta", small(tmp_path / "files"), tmp_path / "videos", tmp_path / "out"),
        *("--max-skipped-fraction", "0.7", "--allow-other-counts", "--vocab-size", "200"),
    )
    (record,) = open_records(folder, "train")
    assert [(c.start, round(c.end, 3)) for c in record.captions] == [(0.0, 6.9), (2.0, 2.0)]
