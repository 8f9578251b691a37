"""Tests of the ActivityNet Captions sentences, with both validation files as views of the same videos."""

import pytest
from svilm_data.datasets.activitynet_captions import DATASET
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.records import open_records
from tests.data.official_cases import link, prepare, read, timed_captions, write
from tests.data.weird_videos import write_video

TRAIN = {"v_aaaaaaaaaaa": {"duration": 9, "timestamps": [[0, 2], [1.5, 9]], "sentences": ["A dog.", "  It\nruns. "]}}
FIRST = {
    "v_bbbbbbbbbbb": {"duration": 4.0, "timestamps": [[0, 4], [3, 4.5]], "sentences": ["One.", "Two."]},
    "v_ccccccccccc": {"duration": 4.0, "timestamps": [[0, 1]], "sentences": ["Alone."]},
}
SECOND = {
    "v_bbbbbbbbbbb": {
        "duration": 4.0,
        "timestamps": [[2, 3], [3, 1], [2, 2]],
        "sentences": ["Three.", "Four.", "Five."],
    }
}


def small(folder, *, train=TRAIN, first=FIRST, second=SECOND):
    for name, content in (("train.json", train), ("val_1.json", first), ("val_2.json", second)):
        if content is not None:
            write(folder, name, content)
    return folder


def entry(**changes):
    return {"v_aaaaaaaaaaa": TRAIN["v_aaaaaaaaaaa"] | changes}


@pytest.fixture(scope="module")
def official(read_official):
    return read_official("activitynet_captions")


def test_official_validation_files_are_one_split(official):
    assert {split: len(videos) for split, videos in official.splits.items()} == {"train": 10_009, "validation": 4917}


def test_official_views_share_the_sentences_between_them(official):
    for wanted in official.splits["validation"]:
        views = [official.views[view].get(wanted.record.id, ()) for view in ("val_1", "val_2")]
        assert [*views[0], *views[1]] == list(range(len(wanted.record.captions)))
    assert official.notes["validation: videos only in val_1"] == "32; in view val_1 only"


def test_odd_official_times_are_told(official):
    # 2D-TAN counts 37,417 training moments: it leaves out the four that have no length or end before they start.
    assert official.notes["train: segments that end before they start"] == "2; start and end swapped"
    assert official.notes["train: segments of zero length"] == "2; kept"
    assert official.notes["train: segments that end after the stated duration"].startswith("29;")
    held = [c for videos in official.splits.values() for wanted in videos for c in wanted.record.captions]
    assert all(0 <= caption.start <= caption.end for caption in held)
    assert all(caption.text == " ".join(caption.text.split()) for caption in held)


def test_small_files(tmp_path):
    some = read(DATASET, small(tmp_path))
    assert timed_captions(some) == {
        "v_aaaaaaaaaaa": [("A dog.", 0.0, 2.0), ("It runs.", 1.5, 9.0)],
        "v_bbbbbbbbbbb": [
            *(("One.", 0.0, 4.0), ("Two.", 3.0, 4.5), ("Three.", 2.0, 3.0), ("Four.", 1.0, 3.0), ("Five.", 2.0, 2.0)),
        ],
        "v_ccccccccccc": [("Alone.", 0.0, 1.0)],
    }
    assert some.views == {
        "val_1": {"v_bbbbbbbbbbb": (0, 1), "v_ccccccccccc": (0,)},
        "val_2": {"v_bbbbbbbbbbb": (2, 3, 4)},
    }
    assert some.notes == {
        "val_1: segments that end after the stated duration": "1; kept",
        "val_2: segments that end before they start": "1; start and end swapped",
        "val_2: segments of zero length": "1; kept",
        "val_2: videos whose sentences are not in temporal order": "1; kept in the order of the file",
        "validation: videos only in val_1": "1; in view val_1 only",
    }


def test_some_files_alone_are_read_and_the_others_named(tmp_path):
    some = read(DATASET, small(tmp_path, train=None, first=None))
    assert some.notes["not found"] == "train.json, val_1.json"
    assert some.views == {"val_2": {"v_bbbbbbbbbbb": (0, 1, 2)}}
    assert set(some.counts) == {"val_2 videos", "val_2 sentences"}


def test_a_video_that_val_2_alone_describes_and_other_durations_are_told(tmp_path):
    second = {
        "v_bbbbbbbbbbb": SECOND["v_bbbbbbbbbbb"] | {"duration": 5.0},
        "v_ddddddddddd": FIRST["v_ccccccccccc"],
    }
    some = read(DATASET, small(tmp_path, second=second))
    assert some.views["val_2"]["v_ddddddddddd"] == (0,)
    assert some.notes["validation: videos only in val_2"] == "1; in view val_2 only"
    assert some.notes["videos whose duration differs between val_1 and val_2"].startswith("1;")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train": []}, r"train\.json: expected an object, got list"),
        ({"train": {"v_a": []}}, r"train\.json: entry 'v_a': expected an object, got \[\]"),
        ({"train": entry(duration=None)}, r"entry 'v_aaaaaaaaaaa', field 'duration': expected int or float, got None"),
        ({"train": entry(sentences=["One."])}, r"entry 'v_a.*': 2 timestamps and 1 sentences"),
        ({"train": entry(sentences=[], timestamps=[])}, r"0 timestamps and 0 sentences"),
        ({"train": entry(sentences=["One.", " "])}, r"sentence 2: expected a sentence, got ' '"),
        ({"train": entry(sentences=["One.", 2])}, r"sentence 2, field 'sentences': expected text, got 2"),
        ({"train": entry(timestamps=[[0, 1], 2])}, r"sentence 2, field 'timestamps': expected \[start, end\], got 2"),
        ({"train": entry(timestamps=[[0, 1], [2]])}, r"sentence 2: expected \[start, end\], got \[2\]"),
        ({"train": entry(timestamps=[[0, 1], [-2, 3]])}, r"sentence 2, start: expected seconds, at least 0, got -2"),
        (
            {"train": {**TRAIN, "aaaaaaaaaaa": TRAIN["v_aaaaaaaaaaa"]}},
            r"'aaaaaaaaaaa': this video occurs twice in this file",
        ),
        ({"train": FIRST}, r"video 'v_bbbbbbbbbbb' is in split train and in split validation"),
    ],
)
def test_what_does_not_fit_is_refused_by_file_and_entry(tmp_path, changed, message):
    tmp_path.joinpath("nothing").mkdir()
    with pytest.raises(PreparationError, match=message):
        read(DATASET, small(tmp_path, **changed))


def test_views_of_prepared_videos_pick_their_own_captions(tmp_path):
    for name in ("v_aaaaaaaaaaa.mp4", "bbbbbbbbbbb.mkv"):
        write_video(tmp_path / "videos" / name)
    folder = prepare(
        *("activitynet_captions", small(tmp_path / "files"), tmp_path / "videos", tmp_path / "out"),
        *("--max-skipped-fraction", "0.5", "--allow-other-counts", "--vocab-size", "200"),
    )
    said = {view: [[c.text for c in r.captions] for r in open_records(folder, view)] for view in ("val_1", "val_2")}
    assert said == {"val_1": [["One.", "Two."]], "val_2": [["Three.", "Four.", "Five."]]}
    (record,) = open_records(folder, "validation")
    assert [c.text for c in record.captions] == ["One.", "Two.", "Three.", "Four.", "Five."]


def test_a_real_clip_becomes_a_record(realdata, tmp_path):
    fixtures = realdata / "fixtures/anet_captions"
    files = tmp_path / "files"
    for name in ("train", "val_1", "val_2"):
        (link(files) / f"{name}.json").symlink_to(fixtures / f"{name}.clips.json")
    folder = prepare(
        *("activitynet_captions", files, realdata / "videos/activitynet", tmp_path),
        *("--max-skipped-fraction", "1", "--allow-other-counts"),
    )
    (record,) = open_records(folder, "train")
    assert record.id == "v_ZNVhz7ctTq0"
    assert [(c.text[:8], round(c.start, 2), round(c.end, 2)) for c in record.captions] == [
        ("A fluffy", 0.0, 1.97),
        ("The dog ", 1.9, 14.05),
    ]
    assert "a child" in record.captions[1].phrases
