"""Tests of the UCF101 lists in every published format, and of rejected files."""

import gzip

import pytest
from svilm_data.datasets.ucf101 import DATASET
from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.video_folder import VideoFolder

from svilm_jax.input.records import open_records
from tests.data.official_cases import prepare, read, write

CLASSES = "1 ApplyEyeMakeup\n2 HandstandPushups\n"
TRAIN = "ApplyEyeMakeup/v_ApplyEyeMakeup_g02_c01.avi 1\nHandstandPushups/v_HandStandPushups_g02_c01.avi 2\n"
TEST = "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\nApplyEyeMakeup/v_ApplyEyeMakeup_g01_c02.avi\n"


def small(folder, *, classes=CLASSES, train=TRAIN, test=TEST):
    for name, text in (("classInd.txt", classes), ("trainlist01.txt", train), ("testlist01.txt", test)):
        if text is not None:
            write(folder, name, text)
    return folder


@pytest.fixture(scope="module")
def official(read_official):
    return read_official("ucf101")


def test_official_labels_and_splits(official):
    assert (official.labels[0], official.labels[-1]) == ("ApplyEyeMakeup", "YoYo")
    assert list(official.splits) == ["videos"]


def test_official_views_divide_the_clips_with_no_group_on_both_sides(official):
    videos = {wanted.record.id: wanted.record for wanted in official.splits["videos"]}
    assert len(videos) == 13_320
    for k in "123":
        train, test = official.views[f"train{k}"], official.views[f"test{k}"]
        assert len(train.keys() | test.keys()) == 13_320
        assert {videos[name].group for name in train}.isdisjoint(videos[name].group for name in test)


def test_the_class_that_file_names_spell_otherwise_is_told_and_found(official, tmp_path):
    # Folder and class list say HandstandPushups, file names say HandStandPushups.
    assert "128; labeled" in official.notes["clips whose file name spells the class differently from classInd.txt"]
    odd = next(w for w in official.splits["videos"] if "HandStand" in w.record.id)
    assert odd.record.actions[0].label == "HandstandPushups"
    for name in ("HandStandPushups/{}.avi", "{}.mp4", "x/{}.avi"):
        place = write(tmp_path / name[:4].strip("{}/"), name.format(odd.record.id.replace("Stand", "stand")), "").parent
        assert VideoFolder(place).find(odd.names, "").is_file()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_and_packing_make_no_difference(tmp_path, end, packed):
    plain = read(DATASET, small(tmp_path / "plain"))
    for name, text in (("classInd.txt", CLASSES), ("trainlist01.txt", TRAIN), ("testlist01.txt", TEST)):
        data = text.replace("\n", end).encode()
        write(tmp_path / "other", name + ".gz" * packed, gzip.compress(data) if packed else data)
    assert read(DATASET, tmp_path / "other") == plain
    assert plain.labels == ("ApplyEyeMakeup", "HandstandPushups")
    assert list(plain.views["train1"]) == ["v_ApplyEyeMakeup_g02_c01", "v_HandStandPushups_g02_c01"]
    assert [w.record.group for w in plain.splits["videos"]][2:] == ["v_ApplyEyeMakeup_g01"] * 2


def test_the_other_line_ends_that_are_held_say_the_same(realdata, official):
    lines = (realdata / "annotations/ucf101/lf_variant/testlist01.txt").read_bytes().decode()
    assert "\r" not in lines
    assert list(official.views["test1"]) == [line.split("/")[1].removesuffix(".avi") for line in lines.split()]


def test_some_lists_alone_are_read_and_the_others_named(tmp_path):
    some = read(DATASET, small(tmp_path, train=None))
    assert (
        some.notes["not found"] == "trainlist01.txt, trainlist02.txt, testlist02.txt, trainlist03.txt, testlist03.txt"
    )
    assert set(some.views) == {"test1"}
    assert some.counts["clips"].published is None
    assert some.counts["test1"].published == 3783


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": "ApplyEyeMakeup\n"}, r"classInd\.txt: line 1: expected 'NUMBER CLASS', got 'ApplyEyeMakeup'"),
        ({"classes": CLASSES + "2 Yo\n"}, r"classInd\.txt: line 3: '2 Yo': number or class occurs twice in this list"),
        ({"train": None, "test": None}, r"no list of clips: expected one or more of trainlist01\.txt, testlist01\.txt"),
        ({"test": "v_A_g01_c01.avi\n"}, r"testlist01\.txt: line 1: expected 'CLASS/CLIP\.avi'"),
        ({"test": "Yo/v_A_g01_c01.avi\n"}, r"testlist01\.txt: line 1: class 'Yo' is not in classInd"),
        (
            {"train": TRAIN.replace(" 2", " 1")},
            r"trainlist01\.txt: line 2: class number '1': classInd\.txt has 2 for Hand",
        ),
        ({"train": TRAIN.replace(" 2", " two")}, r"trainlist01\.txt: line 2: class number 'two'"),
        ({"test": TEST + TEST}, r"testlist01\.txt: line 3: .*g01_c01\.avi' occurs twice in this list"),
        ({"test": TEST.replace("g01", "g02")}, r"testlist01\.txt: 'v_Apply.*g02_c01' is in trainlist01\.txt as well"),
        ({"test": TRAIN.replace("Handstand", "ApplyEyeMakeup/../Handstand")}, "expected 'CLASS/CLIP"),
        ({"test": "HandstandPushups/v_ApplyEyeMakeup_g02_c01.avi"}, "line 1: .* expected one class per clip"),
    ],
)
def test_what_does_not_fit_is_refused_by_file_and_line(tmp_path, changed, message):
    with pytest.raises(PreparationError, match=message):
        read(DATASET, small(tmp_path, **changed))


def test_real_clips_become_records_and_views(realdata, tmp_path, capsys):
    folder = prepare(
        "ucf101", realdata / "annotations/ucf101", realdata / "videos/ucf101", tmp_path, "--max-skipped-fraction", "1"
    )
    assert "clips: 13,320 (published: 13,320)" in capsys.readouterr().out
    records = {record.id: record for record in open_records(folder, "videos")}
    assert {name: record.actions[0].label for name, record in records.items()} == {
        "v_ApplyEyeMakeup_g01_c01": "ApplyEyeMakeup",
        "v_Biking_g05_c02": "Biking",
        "v_Rowing_g16_c03": "Rowing",
        "v_SoccerJuggling_g23_c01": "SoccerJuggling",
    }
    source = realdata / "videos/ucf101/v_Rowing_g16_c03.avi"
    assert records["v_Rowing_g16_c03"].video == source.read_bytes()
    views = {view: {r.id.split("_")[1] for r in open_records(folder, view)} for view in ("train1", "test1", "test3")}
    assert views == {"train1": {"Rowing", "SoccerJuggling"}, "test1": {"ApplyEyeMakeup", "Biking"}, "test3": {"Rowing"}}
    assert len((folder / "labels.json").read_text().splitlines()) == 101 + 2
