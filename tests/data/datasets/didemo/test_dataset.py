"""Tests of the DiDeMo descriptions: published counts, one time each by the official score, and rejected files."""

import pytest
from svilm_data.datasets.didemo import DATASET
from svilm_data.datasets.didemo.dataset import majority_time
from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.video_folder import VideoFolder

from svilm_jax.input.records import open_records
from svilm_jax.video.decoding import probe
from tests.data.official_cases import prepare, read, write
from tests.data.weird_videos import write_video

NAME = "12@N00_34_ab12"
ROW = {
    "num_segments": 6,
    "description": " the toy  lights up",
    "dl_link": "none",
    "times": [[0, 0], [0, 2], [0, 0], [5, 5]],
    "video": f"{NAME}.mov",
    "annotation_id": 1,
}
OTHER = ROW | {"annotation_id": 2, "video": f"{NAME}.", "times": [[1, 4]], "description": "a cat"}


def small(folder, *rows):
    write(folder, "val_data.json", list(rows))
    return folder


@pytest.fixture(scope="module")
def official(read_official):
    return read_official("didemo")


def test_official_moments_lie_in_the_half_minute_that_people_saw(official):
    for wanted in official.splits["validation"]:
        assert wanted.window == (0.0, 30.0)
        assert all(0 <= c.start < c.end <= 30 and c.end % 5 == 0 for c in wanted.record.captions)


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ([(0, 0), (1, 1), (1, 1), (2, 2)], (1, 1)),  # most people
        ([(0, 0), (0, 0), (1, 2), (1, 2)], (0, 0)),  # as many, same score: the first
        ([(0, 0), (0, 0), (3, 5), (3, 5), (3, 4)], (3, 5)),  # as many, but a third person comes near
        ([(4, 4)], (4, 4)),
    ],
)
def test_the_time_of_a_description(marked, expected):
    assert majority_time(marked) == expected


def test_one_video_under_several_endings(tmp_path):
    (wanted,) = read(DATASET, small(tmp_path, ROW, OTHER)).splits["validation"]
    assert wanted.record.id == NAME
    assert [(c.text, c.start, c.end) for c in wanted.record.captions] == [
        ("the toy lights up", 0.0, 5.0),
        ("a cat", 5.0, 25.0),
    ]


@pytest.mark.parametrize("name", ["{}.mov", "{}.mp4", "{}.mov.mp4", "val/{}.avi"])
def test_a_video_is_found_under_every_name_it_goes_by(tmp_path, name):
    (wanted,) = read(DATASET, small(tmp_path / "files", ROW, OTHER)).splits["validation"]
    file = write(tmp_path / "videos", name.format(NAME), "")
    assert VideoFolder(tmp_path / "videos").find(wanted.names, "") == file


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"annotation_id": "1"}, r"entry \d, field 'annotation_id': expected int, got '1'"),
        ({"video": None}, r"field 'video': expected str"),
        ({"description": " "}, r"expected a sentence, got ' '"),
        ({"times": []}, r"field 'times': expected at least one"),
        ({"times": [[0]]}, r"field 'times': expected \[first, last\] of the segments 0 to 5, got \[0\]"),
        ({"times": [[0, 6]]}, r"of the segments 0 to 5, got \[0, 6\]"),
        ({"times": [[3, 2]]}, r"got \[3, 2\]"),
        ({"num_segments": 5, "times": [[4, 5]]}, r"of the segments 0 to 4, got \[4, 5\]"),
    ],
)
def test_what_does_not_fit_is_refused_by_file_and_entry(tmp_path, changed, message):
    with pytest.raises(PreparationError, match=r"val_data\.json: entry \d.*" + message.removeprefix(r"entry \d")):
        read(DATASET, small(tmp_path, ROW | changed))


def test_wrong_files_are_refused(tmp_path):
    with pytest.raises(PreparationError, match="'annotation_id': 1 occurs twice in this file"):
        read(DATASET, small(tmp_path, ROW, ROW))
    write(tmp_path, "val_data.json", {})
    with pytest.raises(PreparationError, match=r"val_data\.json: expected a list"):
        read(DATASET, tmp_path)
    write(tmp_path, "val_data.json", [ROW])
    write(tmp_path, "test_data.json", [ROW])
    with pytest.raises(PreparationError, match="is in split validation and in split test"):
        read(DATASET, tmp_path)


@pytest.mark.parametrize(("seconds", "kept"), [(2, 2), (28.5, 28.5), (34, 30)])
def test_the_half_minute_that_people_saw_becomes_the_record(tmp_path, seconds, kept):
    write_video(tmp_path / "videos" / f"{NAME}.mp4", times=[i / 2 for i in range(int(seconds * 2))])
    folder = prepare(
        *("didemo", small(tmp_path / "files", ROW), tmp_path / "videos", tmp_path / "out"),
        "--allow-other-counts",
    )
    (record,) = open_records(folder, "validation")
    assert probe(record.video).duration == pytest.approx(kept, abs=0.6)
    assert (record.captions[0].start, record.captions[0].end) == (0.0, 5.0)
