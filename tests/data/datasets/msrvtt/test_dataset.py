"""Tests of the MSR-VTT videos, sentences and full split, from the official files and all other formats."""

import gzip
import json
import zipfile

import pytest
from svilm_data.annotations.published_dataset import check_counts
from svilm_data.datasets.msrvtt import DATASET
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.records import open_records, splits
from tests.data.official_cases import counts, prepare, read, write, wrong

TRAIN_VAL, TEST = "train_val_videodatainfo.json", "test_videodatainfo.json"


def video(number, split, film="AAAAAAAAAAA"):
    return {
        **{"id": number, "video_id": f"video{number}", "category": 9, "split": split},
        **{"url": f"https://www.youtube.com/watch?v={film}", "start time": 1.0, "end time": 2.5},
    }


def document(videos, *sentences):
    rows = [{"sen_id": i, "video_id": v, "caption": c} for i, (v, c) in enumerate(sentences)]
    return {"info": {}, "videos": videos, "sentences": rows}


@pytest.fixture
def folder(tmp_path):
    """Both official files, with two clips of one film that do not stand next to each other."""
    videos = [video(0, "train"), video(1, "train", "BBBBBBBBBBB"), video(2, "train"), video(6513, "validate", "C" * 11)]
    sentences = [
        ("video2", "a dog"),
        ("video0", "a  cat "),
        ("video2", "two dogs"),
        ("video1", "x"),
        ("video6513", "y"),
    ]
    write(tmp_path, TRAIN_VAL, document(videos, *sentences))
    write(tmp_path, TEST, document([video(7010, "test", "D" * 11)], ("video7010", "a hat"), ("video7010", " ")))
    return tmp_path


def test_every_official_video_has_twenty_captions(official):
    assert sum(fact.published is not None for fact in official.counts.values()) == 12
    assert all(len(item.record.captions) == 20 for wanted in official.splits.values() for item in wanted)
    assert official.notes["whitespace"] == "normalized in 4,533 captions"
    assert set(official.notes) == {"whitespace", "1k-A, punctuation", "1k-A, shared sentences"}


def test_no_film_is_in_two_official_splits(official):
    films = {split: [item.record.group for item in wanted] for split, wanted in official.splits.items()}
    assert len(set().union(*films.values())) == sum(len(set(of)) for of in films.values()) == 7180


def test_both_files_become_three_splits(folder):
    made = read(DATASET, folder)
    ids = {split: [item.record.id for item in wanted] for split, wanted in made.splits.items()}
    assert ids == {"train": ["video0", "video2", "video1"], "validation": ["video6513"], "test": ["video7010"]}
    train = {item.record.id: item for item in made.splits["train"]}
    assert [caption.text for caption in train["video2"].record.captions] == ["a dog", "two dogs"]
    assert train["video0"].record.captions[0].text == "a cat"
    assert train["video0"].record.group == train["video2"].record.group == "AAAAAAAAAAA"
    assert train["video0"].names == ("video0", "msr0")
    assert train["video0"].window is None
    assert counts(made)["test captions"] == 2  # as many rows as papers count, one of them empty
    assert made.notes["empty captions"] == "1 left out"
    assert made.notes["whitespace"] == "normalized in 1 captions"
    assert {view: list(members) for view, members in made.views.items()} == {
        f"{split}_full": members for split, members in ids.items()
    }


@pytest.mark.parametrize("form", ["zip", "gz", "one file"])
def test_the_same_from_archives_gzip_and_one_file(folder, tmp_path, form):
    plain = read(DATASET, folder)
    other = tmp_path / "other"
    other.mkdir()
    parts = [json.loads((folder / name).read_text()) for name in (TRAIN_VAL, TEST)]
    if form == "zip":
        for name in (TRAIN_VAL, TEST):
            with zipfile.ZipFile(other / f"{name}.zip", "w") as archive:
                archive.write(folder / name, f"deep/{name}")
                archive.writestr("__MACOSX/deep/._" + name, b"\0")
    elif form == "gz":
        for name in (TRAIN_VAL, TEST):
            write(other, f"{name}.gz", gzip.compress((folder / name).read_bytes()))
    else:
        sentences = [row for part in parts for row in part["sentences"]]
        for number, row in enumerate(sentences):
            row["sen_id"] = number
        videos = [row for part in parts for row in part["videos"]]
        write(other, "MSRVTT_data.json", {"videos": videos, "sentences": sentences})
    made = read(DATASET, other)
    assert made == plain


def test_the_one_file_is_not_read_beside_the_two(folder):
    write(folder, "MSRVTT_data.json", "no JSON")
    assert read(DATASET, folder).notes["annotation"] == "not read: MSRVTT_data.json"


def test_without_the_test_file_there_are_facts_for_the_rest(folder):
    (folder / TEST).unlink()
    made = read(DATASET, folder)
    assert list(made.splits) == ["train", "validation"]
    assert not counts(made).keys() & {"videos", "captions", "films", "test videos"}
    assert made.notes["annotation"] == f"not found: {TEST}: prepared without its videos"


def test_a_part_of_the_dataset_is_refused_unless_allowed(folder):
    made = read(DATASET, folder)
    with pytest.raises(PreparationError, match="videos 5 instead of 10,000"):
        check_counts("msrvtt", made, allowed=False)
    check_counts("msrvtt", made, allowed=True)


def test_a_video_without_a_caption_is_noted(folder):
    write(folder, TEST, document([video(7010, "test")], ("video7010", "")))
    made = read(DATASET, folder)
    assert made.splits["test"][0].record.captions == ()
    assert made.notes["videos without a caption"] == "1 (video7010), kept without one"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1", r"test_videodatainfo.json: expected JSON"),
        ([], r"test_videodatainfo.json, field 'videos': missing; expected list"),
        ({"videos": [3], "sentences": []}, r"videos: entry 0: expected an object, got 3"),
        ({"videos": [{}], "sentences": []}, r"videos: entry 0, field 'video_id': missing; expected str"),
        (document([video(7010, "tests")]), r"entry 0, field 'split': expected train, .*, test, got 'tests'"),
        (document([video(10000, "test")]), r"entry 0, field 'video_id': expected a video from video0 to video9999"),
        (document([video(7010, "test")] * 2), r"entry 1, field 'video_id': video7010 occurs twice"),
        (document([video(0, "test")]), r"test_videodatainfo.json: videos: entry 0.*video0 occurs twice"),
        (document([], ("video0", "a")), r"sentences: entry 0, field 'video_id': video0 is not a video of this"),
        (
            document([video(7010, "test")], ("video7010", 5)),
            r"sentences: entry 0, field 'caption': expected str, got 5",
        ),
        (
            {
                "videos": [video(7010, "test")],
                "sentences": [{"sen_id": 4, "video_id": "video7010", "caption": "a"}] * 2,
            },
            r"sentences: entry 1, field 'sen_id': 4 occurs twice",
        ),
    ],
)
def test_what_does_not_fit_is_named(folder, content, message):
    write(folder, TEST, content)
    with pytest.raises(PreparationError, match=message):
        read(DATASET, folder)


def test_cut_down_files_are_read_too(realdata):
    made = read(DATASET, realdata / "fixtures" / "msrvtt")
    assert made.splits["test"]
    assert "test_1ka" in made.views
    assert wrong(made)["videos"][1] == 10_000


def test_real_clips_from_the_official_lists_to_records(realdata, tmp_path):
    annotations, videos = realdata / "annotations" / "msrvtt", realdata / "videos" / "msrvtt"
    made = prepare("msrvtt", annotations, videos, tmp_path, "--max-skipped-fraction", "1")
    held = {"video7011", "video7013", "video7015", "video7019", "video7500"}
    assert splits(made) == {
        **{"test": 5, "train_full": 0, "validation_full": 0, "test_full": 5, "train_7k": 0},
        **{"train_9k": 4, "test_1ka": 1},
    }
    records = {record.id: record for record in open_records(made, "test")}
    assert set(records) == held
    index = {row["file"]: row for row in json.loads((realdata / "videos" / "index.json").read_text())}
    for name, record in records.items():
        assert record.video == (videos / f"{name}.mp4").read_bytes()
        said = index[f"videos/msrvtt/{name}.mp4"]["captions"]
        assert [caption.text for caption in record.captions] == [" ".join(text.split()) for text in said]
        assert any(caption.phrases for caption in record.captions)
    [tested] = open_records(made, "test_1ka")
    assert (tested.id, [caption.text for caption in tested.captions]) == (
        "video7500",
        ["a soccer team walking out on the field"],
    )
    assert [len(record.captions) for record in open_records(made, "train_9k")] == [20] * 4
    summary = json.loads((made / "preparation.json").read_text())
    assert summary["options"]["facts"]["test_1ka videos"] == 1000
    assert summary["views"]["test_1ka"] == {"clips": 1, "captions": 1, "questions": 0, "missing": 999}


def test_a_clip_may_go_by_the_key_of_the_1k_a_list(realdata, tmp_path):
    clip = (realdata / "videos" / "msrvtt" / "video7500.mp4").read_bytes()
    videos = write(tmp_path / "videos", "msr7500.mp4", clip).parent
    write(tmp_path / "lists", TEST, document([video(7500, "test")], ("video7500", "a team")))
    made = prepare("msrvtt", tmp_path / "lists", videos, tmp_path / "out", "--allow-other-counts")
    assert [record.id for record in open_records(made, "test")] == ["video7500"]
