"""Tests of the ActivityNet segments: three published formats, irregular segments kept, invalid ones rejected."""

import argparse
import math

import pytest
from svilm_data.annotations.official_files import OfficialFiles
from svilm_data.annotations.published_dataset import check_counts
from svilm_data.datasets.activitynet import DATASET
from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.video_folder import VideoFolder

from svilm_jax.input.records import open_records
from tests.data.official_cases import link, prepare, write

TAXONOMY = [
    {"nodeName": "Root", "nodeId": 0, "parentId": None, "parentName": None},
    {"nodeName": "Zumba", "nodeId": 1, "parentId": 0, "parentName": "Root"},
    {"nodeName": "Archery", "nodeId": 2, "parentId": 0, "parentName": "Root"},
]
DATABASE = {
    "aaaaaaaaaaa": {
        "duration": 10.0,
        "subset": "training",
        "annotations": [{"segment": [0, 5.5], "label": "Zumba"}, {"segment": [2.0, 2.0], "label": "Archery"}],
    },
    "v_bbbbbbbbb": {
        "duration": 10.0,
        "subset": "validation",
        "annotations": [{"segment": [9, 10.0004], "label": "Archery"}, {"segment": [9, 10.01], "label": "Archery"}],
    },
    "ccccccccccc": {"duration": 8, "subset": "testing", "annotations": []},
}
TSP = {
    "activitynet_v1-3_train_tsp_groundtruth.csv": (
        "video-name,t-start,t-end,action-label,video-duration,filename,fps,video-frames,temporal-region-label\n"
        "aaaaaaaaaaa,0,5.5,Zumba,10.0,v_aaaaaaaaaaa.mp4,30.0,300,Action\n"
        "aaaaaaaaaaa,2.0,2.0,Archery,10.0,v_aaaaaaaaaaa.mp4,30.0,300,Action\n"
        "aaaaaaaaaaa,5.5,10.0,,10.0,v_aaaaaaaaaaa.mp4,30.0,300,No action\n"
    ),
    "activitynet_v1-3_test_metadata.csv": (
        "filename,video-duration,fps,video-frames\nv_ccccccccccc.mp4,8,30,240\nv_v_ddddddddd.mp4,8,30,240\n"
    ),
}
BSN = {
    "anet_anno_action.json": {
        f"v_{name}": {
            "duration_second": row["duration"],
            "duration_frame": 300,
            "annotations": row["annotations"],
            "feature_frame": 288,
        }
        for name, row in DATABASE.items()
    },
    "video_info_new.csv": "video,numFrame,seconds,fps,rfps,subset,featureFrame\n"
    + "".join(f"v_{name},300,10.0,30.0,29.7,{row['subset']},288\n" for name, row in DATABASE.items()),
}


def read(folder, release="1.3"):
    return DATASET.read(OfficialFiles(folder), argparse.Namespace(release=release))


def official_json(folder, name="activity_net.v1-3.min.json", version="VERSION 1.3", taxonomy=TAXONOMY, **changes):
    write(folder, name, {"version": version, "taxonomy": taxonomy, "database": DATABASE | changes})
    return folder


def segments(annotated):
    return {
        wanted.record.id: [(action.label, action.start, action.end) for action in wanted.record.actions]
        for wanted_of_split in annotated.splits.values()
        for wanted in wanted_of_split
    }


@pytest.fixture(scope="module")
def forms(read_official):
    return {name: read_official("activitynet", name, release="1.3") for name in ("derived", "tsp", "bsn")}


@pytest.mark.parametrize("form", ["derived", "tsp"])
def test_classes_are_sorted(forms, form):
    labels = forms[form].labels
    assert (len(labels), labels[0], labels[-1], list(labels)) == (200, "Applying sunscreen", "Zumba", sorted(labels))


def test_bsn_files_leave_out_what_was_gone_and_say_so(forms):
    assert forms["bsn"].notes["videos of the release that are missing from this form"] == (
        "375 of 10,024 train, 198 of 4,926 validation, 193 of 5,044 test"
    )


def test_the_three_official_forms_agree(forms):
    json, tsp, bsn = (segments(forms[form]) for form in ("derived", "tsp", "bsn"))
    assert json == tsp
    assert bsn.keys() < json.keys()
    for video, own in bsn.items():  # BSN's authors scaled the times to the lengths that they found
        assert sorted(label for label, _, _ in own) == sorted(label for label, _, _ in json[video])
    assert forms["bsn"].labels == forms["derived"].labels


def test_odd_official_segments_are_kept_and_told(forms):
    notes = forms["derived"].notes
    assert notes["train: segments of zero length"] == "9; kept"
    assert notes["validation: segments of zero length"] == "3; kept"
    late = [notes[f"{split}: segments that end after the stated duration"] for split in ("train", "validation")]
    assert late == ["130; kept", "73; kept"]  # 203, as published
    assert notes["test: videos without a segment"] == "5,044; kept, without action (unpublished)"
    empty = [s for own in segments(forms["derived"]).values() for s in own if s[1] == s[2]]
    assert len(empty) == 12
    assert not any(wanted.record.actions for wanted in forms["derived"].splits["test"])


def test_an_id_that_begins_as_a_prefix_does_is_whole(forms):
    # Two YouTube ids start with "v_" themselves.
    for form in forms.values():
        assert segments(form).keys() >= {"v_v_Vg4a8igc0", "v_v_UmAH95xls"}
        assert "v_Vg4a8igc0" not in segments(form)


def test_release_1_2_without_what_was_gone(read_official):
    held = read_official("activitynet", release="1.2")
    note = held.notes["videos of the release that are missing from this form"]
    assert note == "378 of 4,819 train, 185 of 2,383 validation, 212 of 2,480 test"
    assert sum((4441, 378, 2198, 185, 2268, 212)) == 9682  # videos of release 1.2


def test_a_cut_release_is_no_release(realdata, tmp_path):
    cut = read(link(tmp_path, realdata / "fixtures/activitynet/activity_net.v1-3.head.json"))
    assert cut.counts["classes"].count == 200
    with pytest.raises(PreparationError, match=r"the official files are incomplete .*--allow-other-counts"):
        check_counts("activitynet", cut, allowed=False)


def test_a_small_document(tmp_path):
    some = read(official_json(tmp_path))
    assert some.labels == ("Archery", "Zumba")
    assert segments(some) == {
        "v_aaaaaaaaaaa": [("Zumba", 0.0, 5.5), ("Archery", 2.0, 2.0)],
        "v_v_bbbbbbbbb": [("Archery", 9.0, 10.0004), ("Archery", 9.0, 10.01)],
        "v_ccccccccccc": [],
    }
    assert {split: len(videos) for split, videos in some.splits.items()} == {"train": 1, "validation": 1, "test": 1}
    assert some.notes == {
        "form": "official JSON",
        "train: segments of zero length": "1; kept",
        "train: videos with segments of several classes": "1; kept",
        "validation: segments that end after the stated duration": "1; kept",
        "test: videos without a segment": "1; kept, without action (unpublished)",
    }


def test_small_tables_in_the_other_forms(tmp_path):
    for name, text in TSP.items():
        write(tmp_path / "tsp", name, text)
    for name, content in BSN.items():
        write(tmp_path / "bsn", name, content)
    tsp, bsn = read(tmp_path / "tsp"), read(tmp_path / "bsn")
    whole = segments(read(official_json(tmp_path / "json")))
    assert segments(bsn) == whole
    assert segments(tsp) == {
        "v_aaaaaaaaaaa": whole["v_aaaaaaaaaaa"],
        "v_ccccccccccc": [],
        "v_v_ddddddddd": [],
    }
    assert tsp.notes["not found"].startswith(
        "activitynet_v1-3_valid_tsp_groundtruth.csv, activitynet_v1-3_train_metadata"
    )
    assert tsp.notes["train: rows without action"] == "1; read, not stored"
    assert set(tsp.counts) == {"train videos", "test videos", "train segments", "classes"}


@pytest.mark.parametrize("name", ["v_{}.mp4", "{}.mkv", "val/v_{}.webm", "train/{}.MP4"])
def test_a_video_is_found_with_and_without_prefix_and_with_any_ending(tmp_path, name):
    wanted = read(official_json(tmp_path / "json")).splits["validation"][0]
    file = write(tmp_path / "videos", name.format("v_bbbbbbbbb"), "")
    assert VideoFolder(tmp_path / "videos").find(wanted.names, "") == file


def entry(**changes):
    return {"aaaaaaaaaaa": DATABASE["aaaaaaaaaaa"] | changes}


def segment(times, label="Zumba"):
    return entry(annotations=[{"segment": times, "label": label}])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"version": "VERSION 1.2"}, r"min\.json, field 'version': expected release 1\.3, got 'VERSION 1\.2'"),
        ({"taxonomy": [{"nodeName": "x"}]}, r"taxonomy, field 'parentId': missing"),
        (entry(subset="train"), r"database: entry 'aaaaaaaaaaa', field 'subset': expected training or validation"),
        (entry(duration="10"), r"entry 'aaaaaaaaaaa', field 'duration': expected int or float, got '10'"),
        (entry(annotations=None), r"field 'annotations': expected list, got None"),
        (segment([1, 2], "Ballet"), r"entry 'aaaaaaaaaaa': label 'Ballet' is no leaf of the taxonomy"),
        (segment([1, 2], None), r"annotation 1, field 'label': expected str"),
        (segment([1]), r"annotation 1, field 'segment': expected \[start, end\], got \[1\]"),
        (segment([-1, 2]), r"annotation 1, field 'segment', start: expected seconds, at least 0, got -1"),
        (segment([1, math.nan]), r"field 'segment', end: expected seconds, at least 0, got nan"),
        (segment([1, "2"]), r"field 'segment', end: expected seconds, at least 0, got '2'"),
        ({"x": None}, r"database: entry 'x': expected an object, got None"),
    ],
)
def test_what_does_not_fit_the_document_is_refused(tmp_path, changed, message):
    with pytest.raises(PreparationError, match=message):
        read(official_json(tmp_path, **changed))


def test_a_name_twice_in_a_document_is_refused(tmp_path):
    write(tmp_path, "activity_net.v1-3.min.json", '{"version": "1.3", "database": {"a": {}, "b": {}, "a": {}}}')
    with pytest.raises(PreparationError, match=r"the name 'a' occurs twice in one object"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("activitynet_v1-3_train_tsp_groundtruth.csv", "t-end", "end", r"line 1 .*'t-end'"),
        ("activitynet_v1-3_train_tsp_groundtruth.csv", "0,5.5,", "0,x,", r"line 2, t-end: expected seconds, got 'x'"),
        ("activitynet_v1-3_train_tsp_groundtruth.csv", "No action", "Pause", r"line 4: expected 'Action' with a label"),
        ("activitynet_v1-3_train_tsp_groundtruth.csv", ",30.0,300,Action", ",Action", r"line 2: expected 9 "),
        ("activitynet_v1-3_test_metadata.csv", "ccccccccccc", "aaaaaaaaaaa", r"line 2: .* is in split train as well"),
        ("video_info_new.csv", "training", "train", r"line 2, subset: expected training or"),
        ("video_info_new.csv", "v_ccccccccccc", "v_aaaaaaaaaaa", r"line 4: video 'v_a.*' occurs twice"),
        ("video_info_new.csv", "v_ccccccccccc", "v_eeeeeeeeeee", r"entry 'v_ccccccccccc': is not in video_info_new"),
    ],
)
def test_what_does_not_fit_the_tables_is_refused(tmp_path, name, old, new, message):
    for other, content in (TSP if "v1-3" in name else BSN).items():
        changed = content.replace(old, new, 1) if other == name else content
        write(tmp_path, other, changed)
    with pytest.raises(PreparationError, match=message):
        read(tmp_path)


def test_what_is_not_there_is_named(tmp_path):
    write(tmp_path / "half", "anet_anno_action.json", BSN["anet_anno_action.json"])
    with pytest.raises(PreparationError, match=r"no list of subsets: expected video_info_new\.csv"):
        read(tmp_path / "half")
    with pytest.raises(
        PreparationError, match=r"no annotations of ActivityNet 1\.2: .*1\.3 exists: give --release 1\.3"
    ):
        read(official_json(tmp_path / "other"), "1.2")


def test_a_real_clip_becomes_a_record(realdata, tmp_path):
    folder = prepare(
        *("activitynet", realdata / "annotations/activitynet", realdata / "videos/activitynet", tmp_path),
        *("--max-skipped-fraction", "1"),
    )
    (record,) = open_records(folder, "train")
    assert record.id == "v_ZNVhz7ctTq0"
    assert [(a.label, a.start, a.end) for a in record.actions] == [
        ("Walking the dog", pytest.approx(0.32874, abs=1e-4), pytest.approx(14.04807, abs=1e-4))
    ]
    assert len((folder / "labels.json").read_text().splitlines()) == 200 + 2
