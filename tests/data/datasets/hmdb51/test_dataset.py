"""Tests of the HMDB51 split files: folder or archive, published counts, and rejected files."""

import pytest
from svilm_data.datasets.hmdb51 import DATASET
from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.video_folder import VideoFolder

from svilm_jax.input.records import open_records
from tests.data.official_cases import counts, link, prepare, read, write, wrong

WAVE = "film_wave_f_nm_np1_fr_goo_0.avi 1 \nfilm_wave_f_nm_np1_fr_goo_1.avi 2 \nother_wave_u_cm_np1_le_bad_0.avi 0 \n"
CLIMB = "a#b~c_climb_stairs_f_cm_np1_ba_med_3.avi 2\n"


def small(folder, *, wave=WAVE, climb=CLIMB, k=1):
    write(folder, f"wave_test_split{k}.txt", wave)
    write(folder, f"climb_stairs_test_split{k}.txt", climb)
    return folder


@pytest.fixture(scope="module")
def official(read_official):
    return read_official("hmdb51")


def test_official_views_have_seventy_and_thirty_of_every_class(official):
    assert official.labels == tuple(sorted(official.labels))
    label = {wanted.record.id: wanted.record.actions[0].label for wanted in official.splits["videos"]}
    for view, members in official.views.items():
        of_class = [label[clip] for clip in members]
        assert {of_class.count(name) for name in official.labels} == {70 if view.startswith("train") else 30}


def test_the_archive_alone_and_files_in_the_clear_say_the_same(realdata, tmp_path, official):
    folder = realdata / "annotations/hmdb51"
    alone = read(DATASET, link(tmp_path / "archive", folder / "hmdb51_splits.tar.gz"))
    assert alone == official
    clear = read(DATASET, link(tmp_path / "clear", folder / "wave_test_split1.txt"))
    assert {clip for clip in official.views["test1"] if "_wave_" in clip} == set(clear.views["test1"])
    assert wrong(clear)["test1"] == (30, 1530)  # a part is no HMDB51


def test_a_small_folder(tmp_path):
    some = read(DATASET, small(tmp_path))
    assert some.labels == ("climb_stairs", "wave")
    assert counts(some) == {"classes": 2, "clips": 4, "train1": 1, "test1": 2}
    assert list(some.views["test1"]) == ["a#b~c_climb_stairs_f_cm_np1_ba_med_3", "film_wave_f_nm_np1_fr_goo_1"]
    assert [w.record.group for w in some.splits["videos"]][1:] == ["film_wave", "film_wave", "other_wave"]
    assert some.notes == {
        "not found": "*_test_split2.txt, *_test_split3.txt",
        "clips that no split uses": "1; stored, in no view",
    }


def test_clips_that_a_split_leaves_out_are_told(tmp_path):
    small(tmp_path)
    write(tmp_path, "wave_test_split2.txt", WAVE.replace("1.avi 2", "1.avi 1").split("other")[0])
    some = read(DATASET, tmp_path)
    assert some.notes["not found"] == "*_test_split3.txt, climb_stairs_test_split2.txt"
    assert some.notes["clips listed only by other splits"] == "2 of split 2"
    assert len(some.views["train2"]) == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"wave": "film_wave.avi 3\n"},
            r"wave_test_split1\.txt: line 1: expected 'CLIP\.avi FLAG' with flag 0, 1 or 2",
        ),
        ({"wave": "\nfilm_wave.avi\n"}, r"line 2: expected 'CLIP\.avi FLAG'"),
        ({"wave": "wave/film.avi 1\n"}, r"line 1: expected 'CLIP\.avi FLAG'"),
        ({"wave": WAVE + WAVE}, r"line 4: 'film_wave_f_nm_np1_fr_goo_0' occurs twice in split 1"),
        ({"wave": CLIMB}, r"wave_test_split1\.txt: line 1: 'a#b.*' is also of class 'climb_stairs'"),
    ],
)
def test_what_does_not_fit_is_refused_by_file_and_line(tmp_path, changed, message):
    with pytest.raises(PreparationError, match=message):
        read(DATASET, small(tmp_path, **changed))


@pytest.mark.parametrize(
    "name", ["{}.avi", "wave/{}.avi", "hmdb51_{}.avi", "hmdb51_org/wave/{}.mp4", "x/hmdb51_{}.mp4"]
)
def test_a_clip_is_found_under_every_name_it_goes_by(tmp_path, name):
    wanted = list(read(DATASET, small(tmp_path / "lists")).splits["videos"])[1]
    file = write(tmp_path / "videos", name.format(wanted.record.id), "")
    assert VideoFolder(tmp_path / "videos").find(wanted.names, "") == file


def test_real_clips_become_records_and_views(realdata, tmp_path):
    # One of the two has a header that is no UTF-8 and a file name with a prefix that the split files lack.
    folder = prepare(
        "hmdb51", realdata / "annotations/hmdb51", realdata / "videos/hmdb51", tmp_path, "--max-skipped-fraction", "1"
    )
    labels = {record.id: record.actions[0].label for record in open_records(folder, "videos")}
    wheel, wave = "Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6", "RATRACE_wave_f_nm_np1_fr_goo_37"
    assert labels == {wheel: "cartwheel", wave: "wave"}
    expected = {"train1": {wheel, wave}, "train2": {wheel}, "test2": {wave}, "train3": {wave}, "test3": {wheel}}
    assert {view: {record.id for record in open_records(folder, view)} for view in expected} == expected
    assert len(open_records(folder, "test1")) == 0
