"""Tests of what all published datasets share: checked counts, lookup of videos, views over the videos present."""

import argparse
import json
import sys
import types
from pathlib import Path

import pytest
from svilm_data.annotations import registry
from svilm_data.annotations.published_dataset import (
    Annotations,
    CountCheck,
    DatasetSpec,
    ResolvedEntries,
    VideoAnnotation,
    check_counts,
    count_checks,
    duplicates,
    field,
)
from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.video_folder import VideoFolder

from svilm_jax.cli import prepare as command
from svilm_jax.input.records import open_records, splits
from svilm_jax.input.schema import Action, Caption, Question, Record
from tests.data.official_cases import write
from tests.data.weird_videos import write_video


def wanted(name, *texts, **more):
    record = {key: more.pop(key) for key in ("actions", "questions") if key in more}
    return VideoAnnotation(Record(name, b"", tuple(Caption(text) for text in texts), **record), (name,), **more)


def annotated(count=3):
    """Clips a, b and c, of which the file tells how many are meant."""
    return Annotations(
        splits={"train": [wanted("a", "a dog", "a cat"), wanted("b", "a hat")], "test": [wanted("c", "a car")]},
        counts=count_checks({"videos": count, "captions": 4}, {"videos": 3}),
        views={"small": {"b": None, "a": (1,)}, "both": {"c": None, "a": None, "z": None}},
        notes={"odd": "1 left out"},
    )


def read(files, args):
    return annotated(int("".join(files.find_one("count.txt", description="count").json())))


DATASET = DatasetSpec("dogs", "clips of dogs", "count.txt", read)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs `svilm prepare dogs` over a folder of videos; returns OUT/dogs."""
    monkeypatch.setattr(registry, "PUBLISHED_DATASETS", ("dogs",))

    def prepare(*more, count="3", videos=("a", "b", "c"), dataset=DATASET, out=tmp_path / "out"):
        write(tmp_path / "files", "count.txt", json.dumps(count))
        (tmp_path / "videos").mkdir(exist_ok=True)
        for name in videos:
            if not (tmp_path / "videos" / f"{name}.mp4").exists():
                write_video(tmp_path / "videos" / f"{name}.mp4", times=[0, 0.5])
        parser = argparse.ArgumentParser()
        monkeypatch.setitem(sys.modules, "svilm_data.datasets.dogs", types.SimpleNamespace(DATASET=dataset))
        command.add_arguments(parser)
        given = ["--annotations", str(tmp_path / "files"), "--workers", "1"]
        if out is not None:
            given += ["--videos", str(tmp_path / "videos"), "--out", str(out)]
        args = parser.parse_args(["dogs", *given, *more])
        return args.prepare(args)

    return prepare


def test_a_dataset_with_its_views(run, capsys):
    folder = run()
    assert capsys.readouterr().out.splitlines() == [
        "dogs: content of the annotation files",
        "  videos: 3 (published: 3)",
        "  captions: 4",
        "  note, odd: 1 left out",
    ]
    assert splits(folder) == {"train": 2, "test": 1, "small": 2, "both": 2}
    small, both = open_records(folder, "small"), open_records(folder, "both")
    assert [(r.id, [c.text for c in r.captions]) for r in small] == [("b", ["a hat"]), ("a", ["a cat"])]
    assert [r.id for r in both] == ["c", "a"]
    summary = json.loads((folder / "preparation.json").read_text())
    assert summary["views"] == {
        "small": {"clips": 2, "captions": 2, "questions": 0, "missing": 0},
        "both": {"clips": 2, "captions": 3, "questions": 0, "missing": 1},
    }
    assert summary["options"] == {"facts": {"videos": 3, "captions": 4}}
    assert summary["command"] == "svilm prepare dogs --annotations files --videos VIDEOS --out OUT"
    assert summary["notes"] == {"odd": "1 left out"}


def test_a_view_lacks_the_videos_that_are_missing(run, tmp_path):
    write(tmp_path, "videos/b.mp4", b"")
    folder = run("--max-skipped-fraction", "0.7", videos=("a",))
    assert splits(folder) == {"train": 1, "small": 1, "both": 1}
    assert [record.id for record in open_records(folder, "small")] == ["a"]
    views = json.loads((folder / "preparation.json").read_text())["views"]
    assert {name: (counts["clips"], counts["captions"], counts["missing"]) for name, counts in views.items()} == {
        "small": (1, 1, 1),
        "both": (1, 2, 2),
    }


def test_too_many_missing_videos(run, tmp_path):
    with pytest.raises(
        PreparationError, match=r"1 of 3 videos are unusable, more than the fraction 0\.1 (.|\n)*c: no such file"
    ):
        run(videos=("a", "b"))
    assert not (tmp_path / "out" / "dogs").exists()


def test_counts_that_differ_are_refused_unless_allowed(run, capsys):
    with pytest.raises(PreparationError, match=r"dogs: videos 2 instead of 3: .*--allow-other-counts"):
        run(count="2")
    assert "  videos: 2 (published: 3)  <- differs" in capsys.readouterr().out
    assert splits(run("--allow-other-counts", count="2"))["train"] == 2
    with pytest.raises(PreparationError, match="already prepared with facts="):
        run()


def test_counts_are_checked_one_by_one():
    many = Annotations(
        {}, {"a": CountCheck(1000, 2000), "b": CountCheck(5), "c": CountCheck(6, 6), "d": CountCheck(0, 1)}
    )
    with pytest.raises(PreparationError, match="x: a 1,000 instead of 2,000; d 0 instead of 1: the official files"):
        check_counts("x", many, allowed=False)
    check_counts("x", many, allowed=True)
    assert count_checks({"a": 3, "b": 4}, {"b": 5, "c": 6}) == {"a": CountCheck(3), "b": CountCheck(4, 5)}


def test_a_dry_run_needs_and_writes_nothing(run, tmp_path, capsys):
    assert run("--dry-run", out=None) is None
    assert run("--dry-run") is None
    assert "videos: 3 (published: 3)" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    with pytest.raises(PreparationError, match="videos 1 instead of 3"):
        run("--dry-run", count="1")
    with pytest.raises(PreparationError, match="--videos and --out are required, unless --dry-run is given"):
        run(out=None)


def test_annotation_files_that_are_not_there(run, tmp_path):
    with pytest.raises(PreparationError, match=r"--annotations .*nowhere: no such file or folder"):
        run("--annotations", str(tmp_path / "nowhere"))


def test_options_of_a_dataset_decide_its_content(run):
    def add(parser):
        parser.add_argument("--release", default="1")

    dataset = DatasetSpec("dogs", "clips of dogs", "count.txt", read, add, ("release",))
    folder = run("--release", "2", "--name", "other_dogs", dataset=dataset)
    assert folder.name == "other_dogs"
    assert json.loads((folder / "preparation.json").read_text())["options"]["release"] == "2"
    with pytest.raises(PreparationError, match="already prepared with release='2', now '3'"):
        run("--release", "3", "--name", "other_dogs", dataset=dataset)


def test_questions_and_labels_go_along(run):
    made = Annotations(
        splits={
            "train": [wanted("a", questions=(Question("why?", "so"),), actions=(Action("sit"),))],
            "test": [wanted("b", questions=(Question("who?", "me"),))],
        },
        counts={},
        labels=("run", "sit"),
    )
    folder = run(dataset=DatasetSpec("dogs", "dogs", "none", lambda files, args: made))
    assert json.loads((folder / "labels.json").read_text()) == ["run", "sit"]
    assert json.loads((folder / "answers.json").read_text()) == [["so", 1]]
    assert not (folder / "views.json").exists()
    assert open_records(folder, "test")[0].questions == (Question("who?", "me"),)


def test_a_file_that_is_cut_already_is_not_cut_again(tmp_path):
    for name in ("film.mp4", "film_3_5.mp4", "whole.mp4"):
        write(tmp_path, name, "")
    items = [
        wanted("film", window=(3.0, 5.0), cut_names=("film_3_5",)),
        wanted("film", window=(6.0, 9.0), cut_names=("film_6_9", "film/6")),
        wanted("whole"),
        wanted("gone", window=(0.0, 1.0)),
    ]
    found = ResolvedEntries(items, VideoFolder(tmp_path))
    assert len(found) == 4
    for _ in range(2):
        rows = [(entry.video.relative_to(tmp_path), entry.window) for entry in found]
        assert rows == [
            (Path("film_3_5.mp4"), None),
            (Path("film.mp4"), (6.0, 9.0)),
            (Path("whole.mp4"), None),
            (Path("gone"), (0.0, 1.0)),
        ]
    assert next(iter(found)) in found
    assert items[0] not in found


def test_fields_have_to_be_there_and_of_their_kind():
    row = {"a": 1, "b": True, "c": "x", "d": None}
    assert field(row, "a", int, "f") == 1
    assert field(row, "c", (int, str), "f") == "x"
    assert field(row, "b", bool, "f") is True
    for name, kind, message in (
        ("z", int, r"f: line 2, field 'z': missing; expected int"),
        ("b", int, r"field 'b': expected int, got True"),
        ("a", (str, list), r"field 'a': expected str or list, got 1"),
        ("d", str, r"field 'd': expected str, got None"),
    ):
        with pytest.raises(PreparationError, match=message):
            field(row, name, kind, "f: line 2")
    with pytest.raises(PreparationError, match=r"f, field 'a': missing"):
        field(["a"], "a", int, "f")


def test_duplicates():
    assert duplicates(["b", "a", "b", "c", "a", "b"]) == ["a", "b"]
    assert duplicates([]) == []
