"""Tests of the catalog: file names resolved to videos, and captions grouped by video."""

import pytest
from svilm_data.datasets.captioned_videos.catalog import open_catalog
from svilm_data.datasets.captioned_videos.rows import AnnotationRow
from svilm_data.pipeline.errors import PreparationError


@pytest.fixture
def folder(tmp_path):
    videos = tmp_path / "videos"
    for name in (
        "a.mp4",
        "a.json",
        "sub/b.webm",
        "sub/panda.18.mp4",
        "one/c.mp4",
        "two/c.mp4",
        "x.mp4",
        "x.avi",
        ".h.mp4",
    ):
        (videos / name).parent.mkdir(parents=True, exist_ok=True)
        (videos / name).write_bytes(name.encode())
    return videos


def collect(folder, rows, share=0.0):
    """Split -> {id: (file below the folder, captions)}, and the notes."""
    rows = [
        AnnotationRow(f"c.csv: line {i}", dict(zip(("video", "caption", "split"), row, strict=False)))
        for i, row in rows
    ]
    with open_catalog(folder, folder.parent / f"{len(list(folder.parent.iterdir()))}.sqlite") as listed:
        listed.add(rows, share)
        found = {
            name: {
                e.record.id: (e.video.relative_to(folder).as_posix(), [c.text for c in e.record.captions]) for e in s
            }
            for name, s in listed.splits().items()
        }
        assert {name: len(s) for name, s in listed.splits().items()} == {name: len(f) for name, f in found.items()}
        return found, listed.notes()


def numbered(*rows):
    return list(enumerate(rows, start=2))


@pytest.mark.parametrize(
    ("name", "identity", "file"),
    [
        ("a.mp4", "a", "a.mp4"),
        ("./a.mp4", "a", "a.mp4"),
        ("a", "a", "a.mp4"),
        ("sub/b", "sub/b", "sub/b.webm"),
        ("b.webm", "sub/b", "sub/b.webm"),
        ("b", "sub/b", "sub/b.webm"),
        ("panda.18", "sub/panda.18", "sub/panda.18.mp4"),
        ("one/c", "one/c", "one/c.mp4"),
        ("x.avi", "x.avi", "x.avi"),  # x.mp4 is another video, so the ending is a part of the id
        ("absent", "absent", "absent"),
    ],
)
def test_names(folder, name, identity, file):
    found, _ = collect(folder, numbered((name, "said")))
    assert found == {"train": {identity: (file, ["said"])}}


@pytest.mark.parametrize("name", ["c", "c.mp4", "x"])
def test_a_name_of_two_files_is_an_error(folder, name):
    with pytest.raises(PreparationError, match=r"c\.csv: line 2.* matches .* and .*: give the path"):
        collect(folder, numbered((name, "said")))


def test_captions_of_one_video_come_together(folder):
    rows = numbered(("a", "one"), ("sub/b", "two"), ("a.mp4", "three"), ("b", " "), ("./a.mp4", "one"))
    found, notes = collect(folder, rows)
    assert found == {"train": {"a": ("a.mp4", ["one", "three", "one"]), "sub/b": ("sub/b.webm", ["two"])}}
    assert list(found["train"]) == ["a", "sub/b"]
    assert notes["empty captions"] == "1, left out (first: c.csv: line 5, field 'caption')"
    assert notes["videos without a caption"].startswith("5 (one/c.mp4, sub/panda.18.mp4, two/c.mp4")


def test_splits(folder):
    found, _ = collect(
        folder, numbered(("a", "one", "Val"), ("b", "two", ""), ("one/c", "three", "TEST"), ("a", "4", "dev"))
    )
    assert {split: list(videos) for split, videos in found.items()} == {
        "train": ["sub/b"],
        "validation": ["a"],
        "test": ["one/c"],
    }
    with pytest.raises(
        PreparationError, match=r"line 3, field 'split': 'a.mp4' is in test here and in train at line 2"
    ):
        collect(folder, numbered(("a", "one", "train"), ("a.mp4", "two", "test")))


def test_validation_share_depends_on_the_id_alone(tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    names = [f"clip{i}" for i in range(400)]
    few, _ = collect(videos, numbered(*((n, "said") for n in names[:200])), 0.25)
    many, _ = collect(videos, numbered(*((n, "said") for n in reversed(names))), 0.25)
    assert 30 < len(few["validation"]) < 70
    assert set(few["validation"]) == set(many["validation"]) & set(names[:200])
    assert list(collect(videos, numbered(*((n, "said") for n in names)), 0.0)[0]) == ["train"]


def test_names_that_leave_the_folder_are_refused(folder):
    for name in ("../secret.mp4", "/etc/passwd", "sub/../../secret"):
        with pytest.raises(PreparationError, match=r"c\.csv: line 2, field of the video: .* is outside the folder"):
            collect(folder, numbered((name, "said")))
    (folder.parent / "outside.mp4").touch()
    (folder / "link.mp4").symlink_to(folder.parent / "outside.mp4")
    with pytest.raises(PreparationError, match="through a link"):
        collect(folder, numbered(("link", "said")))
