"""Tests of the TVR queries: published counts, queries without a clip reported, and rejected files."""

import pytest
from svilm_data.datasets.tvr import DATASET
from svilm_data.pipeline.errors import PreparationError

from tests.data.official_cases import read, write

ROW = {
    "vid_name": "castle_s01e01_seg02_clip_04",
    "duration": 60.0,
    "ts": [1.5, 20],
    "desc": "Castle  sits. ",
    "type": "v",
    "desc_id": 1,
}
OTHER = ROW | {"vid_name": "s02e14_seg02_clip_02", "desc_id": 2, "type": "vt", "ts": [50, 61]}
THIRD = ROW | {"vid_name": "castle_s01e01_seg01_clip_00", "desc_id": 3, "type": "t"}
LENGTHS = {"train": {}, "val": {ROW["vid_name"]: [60.0, 0], "more": [1.0, 2]}}


def small(folder, *rows, lengths=None):
    write(folder, "tvr_val_release.jsonl", rows)
    if lengths is not None:
        write(folder, "tvr_video2dur_idx.json", lengths)
    return folder


def test_small_files(tmp_path):
    some = read(DATASET, small(tmp_path, ROW, OTHER, THIRD, lengths=LENGTHS))
    assert [(w.record.id, w.record.group) for w in some.splits["validation"]] == [
        ("castle_s01e01_seg02_clip_04", "castle_s01e01"),
        ("castle_s01e01_seg01_clip_00", "castle_s01e01"),
        ("s02e14_seg02_clip_02", "s02e14"),
    ]
    assert [(c.text, c.start, c.end) for c in some.splits["validation"][0].record.captions] == [
        ("Castle sits.", 1.5, 20)
    ]
    assert some.notes["validation: segments that end after the stated duration"] == "1; kept"
    assert some.notes["validation: clips that tvr_video2dur_idx.json does not list"] == "2; kept"
    assert some.notes["validation: clips of tvr_video2dur_idx.json without a query"] == "1; not stored"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"desc_id": None}, r"field 'desc_id': expected int"),
        ({"desc": ""}, r"expected a sentence, got ''"),
        ({"type": "x"}, r"field 'type': expected v, t, vt, got 'x'"),
        ({"ts": [1]}, r"field 'ts': expected \[start, end\], got \[1\]"),
        ({"ts": [1, "2"]}, r"field 'ts', end: expected seconds, at least 0, got '2'"),
        ({"duration": "60"}, r"field 'duration': expected int or float, got '60'"),
        ({"vid_name": 3}, r"field 'vid_name': expected str, got 3"),
        ({"desc_id": 2}, r"field 'desc_id': 2 occurs twice in this file"),
    ],
)
def test_what_does_not_fit_is_refused_by_file_and_line(tmp_path, changed, message):
    with pytest.raises(PreparationError, match=r"tvr_val_release\.jsonl: line 2.*" + message):
        read(DATASET, small(tmp_path, OTHER, ROW | changed))


def test_wrong_files_are_refused(tmp_path):
    write(tmp_path / "test", "tvr_test_public_release.jsonl", [{"desc": "A man.", "desc_id": 1}])
    with pytest.raises(PreparationError, match=r"only queries of test_public, which name no video"):
        read(DATASET, tmp_path / "test")
    write(tmp_path, "tvr_val_release.jsonl", "{}\nx\n")
    with pytest.raises(PreparationError, match=r"line 1, field 'desc_id': missing"):
        read(DATASET, tmp_path)
    with pytest.raises(PreparationError, match=r"tvr_video2dur_idx\.json, field 'val': missing"):
        read(DATASET, small(tmp_path, ROW, lengths={}))
