"""Tests of the MSVD captions, lists and names, in every format."""

import json

import pytest
from svilm_data.datasets.msvd import DATASET
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.records import open_records, splits
from tests.data.official_cases import counts, link, prepare, read, write

CAPTIONS = {
    "-4wsuPCjDBc_5_15": ["a squirrel eats", "a  squirrel is eating "],
    "bQJQGoJF7_k_1_2": ["a pot"],
    "bQJQGoJF7_k_7_9": ["a pan"],
    "eyhzdC936uk_15_27": ["a boy", ""],
}
MAPPING = "-4wsuPCjDBc_5_15 vid1\nbQJQGoJF7_k_1_2 vid2\nbQJQGoJF7_k_7_9 vid3\neyhzdC936uk_15_27 vid4\n"
HEADER = "VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description\n"


@pytest.fixture
def folder(tmp_path):
    """As the real files: no list of the validation clips."""
    write(tmp_path, "captions_msvd.json", CAPTIONS)
    write(tmp_path, "train_list.txt", "bQJQGoJF7_k_1_2\n-4wsuPCjDBc_5_15\n")
    write(tmp_path, "test_list.txt", "eyhzdC936uk_15_27\r\n")
    write(tmp_path, "youtube_mapping.txt", MAPPING)
    return tmp_path


def ids(made):
    return {split: [item.record.id for item in wanted] for split, wanted in made.splits.items()}


def test_validation_is_what_stands_in_no_other_list(folder):
    made = read(DATASET, folder)
    assert ids(made) == {
        "train": ["bQJQGoJF7_k_1_2", "-4wsuPCjDBc_5_15"],
        "validation": ["bQJQGoJF7_k_7_9"],
        "test": ["eyhzdC936uk_15_27"],
    }
    squirrel = made.splits["train"][1]
    assert [caption.text for caption in squirrel.record.captions] == ["a squirrel eats", "a squirrel is eating"]
    assert squirrel.names == ("-4wsuPCjDBc_5_15", "vid1")
    assert squirrel.record.group == "-4wsuPCjDBc"
    assert (counts(made)["test captions"], counts(made)["captions"]) == (2, 6)
    assert made.notes["empty captions"] == "1 left out"
    assert made.notes["validation"].startswith("not found: val_list.txt")
    assert made.notes["source videos in several splits"] == "1 (bQJQGoJF7_k), as published"


def test_a_list_of_the_validation_clips_decides(folder):
    write(folder, "val_list.txt", "eyhzdC936uk_15_27.avi\n\n")
    write(folder, "test_list.txt", "bQJQGoJF7_k_7_9\n")
    write(folder, "captions_msvd.json", CAPTIONS | {"notInAList0_1_2": ["x"]})
    made = read(DATASET, folder)
    assert ids(made)["validation"] == ["eyhzdC936uk_15_27"]
    assert "validation" not in made.notes
    assert made.notes["clips in no list"] == "1 with captions (notInAList0_1_2) left out"


def test_without_a_list_only_clips_that_were_handed_out_are_for_validation(folder):
    write(folder, "captions_msvd.json", CAPTIONS | {"onlyInCorpu_1_2": ["x"]})
    made = read(DATASET, folder)
    assert ids(made)["validation"] == ["bQJQGoJF7_k_7_9"]
    assert made.notes["clips in no list"].startswith("1 with captions (onlyInCorpu_1_2)")


def test_a_clip_of_a_list_without_captions_is_counted(folder):
    write(folder, "test_list.txt", "eyhzdC936uk_15_27\nnoCaptions0_1_2\n")
    made = read(DATASET, folder)
    assert ids(made)["test"] == ["eyhzdC936uk_15_27"]
    assert made.notes["clips without a caption"] == "1 listed clips (noCaptions0_1_2) left out"


def test_the_corpus_in_all_languages(folder):
    official = read(DATASET, folder)
    (folder / "captions_msvd.json").unlink()
    rows = [
        "-4wsuPCjDBc,5,15,0,clean,80,English,a squirrel eats",
        "-4wsuPCjDBc,5,15,0,clean,80,Romanian,o veverita",
        "-4wsuPCjDBc,5,15,0,unverified,80,English,a  squirrel is eating ",
        'eyhzdC936uk,15.0,27,0,clean,80,English,"a boy"',
        "eyhzdC936uk,15,27,0,clean,80,English,",
        "bQJQGoJF7_k,1,2,0,clean,80,English,a pot",
        'bQJQGoJF7_k,7,9,0,clean,80,english,"a\npan"',
    ]
    write(folder, "MSR Video Description Corpus.csv", ("\ufeff" + HEADER + "\n".join(rows)).encode())
    made = read(DATASET, folder)
    assert {split: list(wanted) for split, wanted in made.splits.items()} == dict(official.splits)
    assert made.notes["other languages"] == "1 descriptions that are not English left out"
    assert made.counts["captions"].published is None  # the published number is that of the other form
    assert made.counts["videos"].published == 1970


def test_one_sentence_a_line(folder):
    official = read(DATASET, folder)
    (folder / "captions_msvd.json").unlink()
    lines = [f"{clip} {text}" for clip, texts in CAPTIONS.items() for text in texts]
    write(folder, "AllVideoDescriptions.txt", "\n".join(["# remarks", "", *lines, ""]))
    made = read(DATASET, folder)
    assert made.splits == official.splits


def test_the_form_of_published_results_is_read_first(folder):
    write(folder, "AllVideoDescriptions.txt", "no clip")
    write(folder, "video_corpus.csv", "no corpus")
    assert read(DATASET, folder).notes["captions"] == (
        "read from captions_msvd.json; not read: AllVideoDescriptions.txt, video_corpus.csv"
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("captions_msvd.json", [], r"captions_msvd\.json: expected an object of clips, got list"),
        ("captions_msvd.json", {"vid1": ["a"]}, r"clip 'vid1': expected a clip as FILM_START_END"),
        ("captions_msvd.json", {"a_1_2": "a"}, r"captions_msvd\.json, field 'a_1_2': expected list, got 'a'"),
        ("captions_msvd.json", {"a_1_2": ["a", 3]}, r"clip 'a_1_2', caption 1: expected str, got 3"),
        ("train_list.txt", "video1\n", r"train_list\.txt: line 1: expected a clip as FILM_START_END .*, got 'video1'"),
        ("train_list.txt", "a_1_2\na_1_2\n", r"train_list\.txt: line 2: a_1_2 is also in the train list"),
        ("test_list.txt", "bQJQGoJF7_k_1_2\n", r"test_list\.txt: line 1: bQJQGoJF7_k_1_2 is also in the train list"),
        ("youtube_mapping.txt", "a_1_2\n", r"youtube_mapping\.txt: line 1: expected a clip name and vidN"),
        ("youtube_mapping.txt", "a_1_2 vid1971\n", r"line 1: expected a video from vid1 to vid1970"),
        ("youtube_mapping.txt", "a_1_2 vid1\nb_1_2 vid1\n", r"line 2: vid1 occurs before"),
        ("youtube_mapping.txt", "a_1_2 vid1\na_1_2 vid2\n", r"line 2: a_1_2 occurs before"),
    ],
)
def test_what_does_not_fit_is_named(folder, name, content, message):
    write(folder, name, content)
    with pytest.raises(PreparationError, match=message):
        read(DATASET, folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("video_corpus.csv", "VideoID,Start\n", r"line 1 \(the header\): expected one column 'end'"),
        ("video_corpus.csv", HEADER + "a,x,2,0,clean,1,English,b\n", r"line 2, field 'start': expected whole seconds"),
        ("video_corpus.csv", HEADER + "a,1,2.5,0,clean,1,English,b\n", r"line 2, field 'end': expected whole seconds"),
        ("video_corpus.csv", HEADER + "a,1,2,0,clean\n", r"line 2: expected 8 fields as in the header, got 5"),
        ("AllVideoDescriptions.txt", "\nvid1 a dog\n", r"line 2: expected a clip as FILM_START_END"),
        ("AllVideoDescriptions.txt", b"a_1_2 caf\xe9\n", r"line 1: expected UTF-8"),
        ("other.txt", "", r"no captions: expected captions_msvd\.json, AllVideoDescriptions\.txt, video_corpus\.csv"),
    ],
)
def test_what_does_not_fit_in_the_other_forms_is_named(folder, name, content, message):
    (folder / "captions_msvd.json").unlink()
    write(folder, name, content)
    with pytest.raises(PreparationError, match=message):
        read(DATASET, folder)


@pytest.mark.parametrize("name", ["train_list.txt", "test_list.txt"])
def test_the_other_lists_have_to_be_there(folder, name):
    (folder / name).unlink()
    with pytest.raises(PreparationError, match=rf"no list of the t\w+ clips: expected {name}"):
        read(DATASET, folder)


def test_official_lists_agree_with_the_numbers_of_the_mapping(read_official, realdata, tmp_path):
    made = read_official("msvd")
    assert all(fact.published for fact in made.counts.values())
    mapping = realdata / "annotations" / "msvd_qa" / "youtube_mapping.txt"
    files = [*(realdata / "annotations" / "msvd").iterdir(), mapping]
    both = read(DATASET, link(tmp_path / "both", *files))
    assert ids(both) == ids(made)
    numbers = {split: sorted(int(item.names[1][3:]) for item in wanted) for split, wanted in both.splits.items()}
    assert numbers == {
        **{"train": list(range(1, 1201)), "validation": list(range(1201, 1301))},
        **{"test": list(range(1301, 1971))},
    }
    assert len({name.lower() for item in sum(map(list, both.splits.values()), []) for name in item.names}) == 2 * 1970
    # One film was split: the paper of the split divides clips, not films.
    assert both.notes["source videos in several splits"] == "1 (bQJQGoJF7_k), as published"


@pytest.mark.parametrize("renumbered", [False, True])
def test_real_clips_from_the_official_lists_to_records(realdata, tmp_path, renumbered):
    source = realdata / "videos" / "msvd"
    annotations, videos = tmp_path / "annotations", source
    names = dict(_pairs(realdata))
    link(annotations, *(realdata / "annotations" / "msvd").iterdir())
    if renumbered:
        link(annotations, realdata / "annotations" / "msvd_qa" / "youtube_mapping.txt")
        videos = tmp_path / "videos"
        for file in source.iterdir():
            write(videos / "some", f"{names[file.stem]}.avi", file.read_bytes())
    made = prepare("msvd", annotations, videos, tmp_path / "out", "--max-skipped-fraction", "1")
    assert splits(made) == {"train": 3, "test": 2}
    said = {
        row["file"]: row["captions"]
        for row in json.loads((realdata / "videos" / "index.json").read_text())
        if row["file"].startswith("videos/msvd/")
    }
    for split in splits(made):
        for record in open_records(made, split):
            assert record.video == (source / f"{record.id}.avi").read_bytes()
            assert [caption.text for caption in record.captions] == said[f"videos/msvd/{record.id}.avi"]
    vocabulary = (made / "vocab.txt").read_text()
    assert "woman" in vocabulary.split()


def _pairs(realdata):
    text = (realdata / "annotations" / "msvd_qa" / "youtube_mapping.txt").read_text()
    return [line.split() for line in text.splitlines()]
