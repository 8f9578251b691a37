"""Tests of preparation: deterministic for any number of workers, atomic, and never overwriting unasked."""

import argparse
import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from svilm_data.datasets.moving_shapes import prepare
from svilm_data.pipeline import metadata_files, preparation, record_writer, video_checks
from svilm_data.pipeline.errors import PreparationError, is_full_disk
from svilm_data.pipeline.journal import Journal
from svilm_data.pipeline.preparation import EncodingOptions, Entry, Plan, build_directory, is_prepared
from svilm_data.pipeline.preparation import prepare as prepare_entries

from svilm_jax.cli.prepare import run as run_command
from svilm_jax.filesystem.output_paths import OutputError
from svilm_jax.input.records import open_records, splits
from svilm_jax.input.schema import Action, Caption, Question, Record
from svilm_jax.video.decoding import VideoError
from tests.data.weird_videos import write_video

SIZES = {"train": 72, "validation": 1, "twins_test": 2}  # more groups and clips than a worker takes at once


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """The same dataset, prepared by one process and by two."""
    folders = [tmp_path_factory.mktemp(f"workers{count}") for count in (1, 2)]
    for count, folder in enumerate(folders, start=1):
        prepare(folder, sizes=SIZES, workers=count)
    return folders


def test_the_same_bytes_for_any_number_of_workers(two_runs):
    one, two = ({p.relative_to(f).as_posix(): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in two_runs)
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
    assert any(".array_record" in name for name in one)


def test_nothing_else_is_left(two_runs):
    assert sorted(p.name for p in two_runs[1].iterdir()) == ["moving_shapes", "moving_shapes_raw"]
    folder = two_runs[1] / "moving_shapes"
    assert sorted(p.name for p in folder.iterdir()) == [
        "1.0.0",
        "answers.json",
        "labels.json",
        "preparation.json",
        "vocab.txt",
    ]
    text = (folder / "preparation.json").read_text()
    assert str(two_runs[1]) not in text
    assert str(Path.home()) not in text
    assert json.loads(text)["splits"]["train"] == pytest.approx(
        {
            **{"clips": 72, "captions": 144, "questions": 288, "seconds": 144.0},
            "bytes": json.loads(text)["splits"]["train"]["bytes"],
        }
    )


def test_prepared_again_only_when_asked(two_runs, capsys):
    folder = two_runs[0] / "moving_shapes"
    before = (folder / "preparation.json").stat().st_mtime_ns
    assert prepare(two_runs[0], sizes=SIZES) == folder
    assert "already prepared" in capsys.readouterr().out
    assert (folder / "preparation.json").stat().st_mtime_ns == before
    with pytest.raises(PreparationError, match=r"already prepared with seed=0, now 1; give --overwrite"):
        prepare(two_runs[0], sizes=SIZES, seed=1)


def entries(folder, count, words=("a dog runs",)):
    return [
        Entry(
            Record(id=f"clip{i}", video=b"", captions=tuple(Caption(f"{w} {i}") for w in words)),
            write_video(folder / f"{i}.mp4", times=[0, 0.5]),
        )
        for i in range(count)
    ]


def plan(out, **changes):
    return Plan(**({"name": "dogs", "out": out, "options": {}, "command": "none", "workers": 1} | changes))


def test_overwrite_replaces_and_a_strange_folder_is_left_alone(tmp_path):
    items = entries(tmp_path / "raw", 2)
    folder = prepare_entries(plan(tmp_path), {"train": items})
    prepare_entries(plan(tmp_path, overwrite=True), {"train": items[:1]})
    assert len(open_records(folder, "train")) == 1
    (tmp_path / "other").mkdir()
    with pytest.raises(PreparationError, match="was not written by `svilm prepare`"):
        is_prepared(plan(tmp_path, name="other", overwrite=True))
    with pytest.raises(PreparationError, match="lower-case letters"):
        is_prepared(plan(tmp_path, name="Other Dogs"))


def test_many_files_keep_the_order(tmp_path, monkeypatch):
    monkeypatch.setattr(record_writer, "SHARD_BYTES", 9000)
    monkeypatch.setattr(record_writer, "BATCH_RECORDS", 3)
    folder = prepare_entries(plan(tmp_path), {"train": entries(tmp_path / "raw", 12)})
    assert len(list(folder.glob("*/*.array_record*"))) > 2
    source = open_records(folder, "train")
    assert [source[i].id for i in range(12)] == [f"clip{i}" for i in range(12)]


def test_a_failure_half_way_leaves_nothing_that_looks_finished(tmp_path):
    items = entries(tmp_path / "raw", 2)
    masks = tmp_path / "raw" / "masks.npz"
    masks.write_bytes(b"no archive")
    items[1] = Entry(items[1].record, items[1].video, masks)
    with pytest.raises(PreparationError, match=r"masks\.npz: expected an \.npz file"):
        prepare_entries(plan(tmp_path), {"train": items})
    assert sorted(p.name for p in tmp_path.iterdir()) == [".dogs.progress", "raw"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_preparation_leaves_nothing_that_looks_finished(tmp_path, how):
    script = tmp_path / "script.py"
    script.write_text(
        # A test run started in the background hands on SIGINT as ignored, and Python then leaves it so.
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from svilm_data.datasets.moving_shapes import prepare\n"
        f"if __name__ == '__main__':\n    prepare({str(tmp_path)!r}, workers=2)\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while not list(tmp_path.glob(".moving_shapes_raw.incomplete/raw/videos/train/*")):
            assert process.poll() is None, "it ended by itself"
            time.sleep(0.05)
        if how == signal.SIGINT:
            os.killpg(process.pid, how)  # as Ctrl-C does: the workers get it too, and have to leave it to the parent
        else:
            os.kill(process.pid, how)  # the parent alone: its workers have to follow
        process.wait()
        assert process.stderr is not None
        said = process.stderr.read()  # ends when the workers have gone, too
    assert process.returncode != 0
    assert said.count("Traceback") <= 1, said  # the parent's own
    left = [p.name for p in tmp_path.iterdir() if not p.name.startswith(".") and p != script]
    assert left == []
    if how == signal.SIGINT:
        assert list(tmp_path.iterdir()) == [script]
    with build_directory(tmp_path, "moving_shapes_raw") as folder:  # and the next one is not kept from working
        assert list(folder.iterdir()) == []


def test_one_preparation_at_a_time(tmp_path):
    with build_directory(tmp_path, "dogs"), pytest.raises(PreparationError, match="dogs: in use by process"):
        prepare_entries(plan(tmp_path), {"train": entries(tmp_path / "raw", 1)})


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere")


def test_a_disk_that_is_too_small_is_refused_before_records_are_written(tmp_path, monkeypatch):
    usage = types.SimpleNamespace(total=1 << 30, free=100)
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(PreparationError, match="the records take about 0.0 MB, and 0.0 MB are free.* are kept.*resume"):
        prepare_entries(plan(tmp_path), {"train": entries(tmp_path / "raw", 1)})
    assert sorted(p.name for p in tmp_path.iterdir()) == [".dogs.progress", "raw"]


def test_a_full_disk_makes_no_video_unusable(tmp_path, monkeypatch):
    """What FFmpeg cannot write is no fault of the video, which is tried again."""

    def transcode(source, *_):
        try:
            full_disk()
        except OSError as error:
            raise VideoError("cannot be re-encoded", source.name) from error

    items = {"train": entries(tmp_path / "raw", 2)}
    encoding = EncodingOptions(short_side=32)
    with monkeypatch.context() as patch:
        patch.setattr(video_checks, "transcode", transcode)
        with pytest.raises(PreparationError, match=r"\.dogs\.progress.*No space left on device.*are kept.*resume"):
            prepare_entries(plan(tmp_path, encoding=encoding), items)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "record_check", full_sqlite)
        with pytest.raises(sqlite3.OperationalError) as full:
            prepare_entries(plan(tmp_path, encoding=encoding), items)
        assert is_full_disk(full.value)
    assert splits(prepare_entries(plan(tmp_path, encoding=encoding), items)) == {"train": 2}


def full_sqlite(*_):
    raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize("error", [full_disk, full_sqlite])
def test_the_command_tells_a_full_disk_in_one_line(tmp_path, capsys, error):
    args = argparse.Namespace(out=tmp_path, prepare=error)
    with pytest.raises(PreparationError, match=r"No space left on device\. Results so far are kept") as told:
        run_command(args)
    assert "\n" not in str(told.value)


def test_an_output_that_cannot_be_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="is a file, expected a folder"):
            run_command(argparse.Namespace(out=out, prepare=lambda _: pytest.fail("it began")))


def test_vocabularies(tmp_path):
    items = {"train": entries(tmp_path / "raw", 1)}
    with pytest.raises(PreparationError, match=r"--vocab .*none\.txt: no such file"):
        prepare_entries(plan(tmp_path, vocab=tmp_path / "none.txt"), items)
    with pytest.raises(PreparationError, match="--vocab-size 10"):
        prepare_entries(plan(tmp_path, vocab_size=10), items)
    folder = prepare_entries(plan(tmp_path), items)
    given = folder / "vocab.txt"
    again = prepare_entries(plan(tmp_path, name="more_dogs", vocab=given), items)
    assert (again / "vocab.txt").read_bytes() == given.read_bytes()
    with pytest.raises(PreparationError, match="already prepared with vocab="):
        is_prepared(plan(tmp_path, name="more_dogs"))


def test_too_many_unusable_videos(tmp_path):
    items = entries(tmp_path / "raw", 2)
    items[1].video.write_bytes(b"")
    with pytest.raises(PreparationError, match=r"1 of 2 videos are unusable, more than(.|\n)*clip1 .*empty"):
        prepare_entries(plan(tmp_path), {"train": items})
    folder = prepare_entries(plan(tmp_path, max_skipped_fraction=0.5), {"train": items})
    assert [s["file"] for s in json.loads((folder / "preparation.json").read_text())["skipped"]] == ["1.mp4"]
    with pytest.raises(PreparationError, match="1 of 1 videos are unusable"):
        prepare_entries(plan(tmp_path, name="none", max_skipped_fraction=1.0), {"train": items[1:]})
    with pytest.raises(PreparationError, match="no video to prepare"):
        prepare_entries(plan(tmp_path, name="none"), {"train": []})


def test_a_long_list_of_skipped_videos_goes_into_a_file_of_its_own(tmp_path, monkeypatch):
    items = entries(tmp_path / "raw", 5)
    for item in items[1:4]:
        item.video.unlink()
    monkeypatch.setattr(metadata_files, "MAX_IN_SUMMARY", 2)
    monkeypatch.setattr(metadata_files, "MAX_PRINTED", 1)
    folder = prepare_entries(plan(tmp_path, max_skipped_fraction=0.6), {"train": items})
    summary = json.loads((folder / "preparation.json").read_text())
    assert (summary["unusable"], [item["video"] for item in summary["skipped"]]) == (3, ["clip1", "clip2"])
    listed = [json.loads(line) for line in (folder / "skipped.jsonl").read_text().splitlines()]
    assert [item["video"] for item in listed] == ["clip1", "clip2", "clip3"]
    assert "skipped 3 unusable videos:" in preparation.describe(folder)
    assert "and 2 more: " in preparation.describe(folder)


def told(folder, name, **what):
    return Entry(Record(name, b"", **what), write_video(folder / f"{name}.mp4", times=[0, 0.5]))


def asked(*pairs):
    return tuple(Question(question, answer) for question, answer in pairs)


@pytest.fixture
def labeled(tmp_path):
    """Splits with questions and actions; a clip of the first cannot be used."""
    raw = tmp_path / "raw"
    broken = told(raw, "broken", questions=asked(("is it?", "broken")), actions=(Action("break"),))
    broken.video.write_bytes(b"")
    return {
        "train": [
            broken,
            told(raw, "a", questions=asked(("who runs?", "dog"), ("what flies?", "zebra")), actions=(Action("run"),)),
            told(raw, "b", questions=asked(("who sits?", "añu"), ("who lies?", "dog")), actions=(Action("sit"),) * 2),
        ],
        "untrimmed_train": [told(raw, "c", questions=asked(("who hums?", "zebra"), ("who is it?", "dog")))],
        "train_later": [told(raw, "d", questions=asked(("whom?", "later")), captions=(Caption("a dog"),))],
        "test": [told(raw, "e", questions=asked(("whose?", "never")), actions=(Action("añadir"),))],
    }


def test_answers_of_training_alone_are_counted_and_labels_of_all(tmp_path, labeled):
    folder = prepare_entries(plan(tmp_path, max_skipped_fraction=0.5), labeled)
    answers = (folder / "answers.json").read_text(encoding="utf-8")
    assert json.loads(answers) == [["dog", 3], ["zebra", 2], ["añu", 1]]
    assert "añu" in answers
    assert json.loads((folder / "labels.json").read_text(encoding="utf-8")) == ["añadir", "run", "sit"]
    assert open_records(folder, "train")[1].questions == asked(("who sits?", "añu"), ("who lies?", "dog"))


def test_the_vocabulary_is_learned_from_captions_of_training_or_else_from_questions(tmp_path, labeled):
    raw = tmp_path / "words"

    def said(name, caption, question, answer):
        # Twice each, since pieces that occur once are not joined.
        captions, questions = (
            (Caption(f"{caption} {caption}"),),
            asked((f"{question} {question}", f"{answer} {answer}")),
        )
        return told(raw, name, captions=captions, questions=questions, actions=(Action("juggle juggle"),))

    labeled["train"] += [said("f", "apple", "banana", "cherry")]
    labeled["untrimmed_train"] += [said("g", "lemon", "mango", "nectar")]
    labeled["train_later"] += [said("h", "olive", "peach", "quince")]
    labeled["test"] += [said("i", "raisin", "tomato", "walnut")]
    folder = prepare_entries(plan(tmp_path, max_skipped_fraction=0.5), labeled)
    tokens = (folder / "vocab.txt").read_text(encoding="utf-8").split()
    words = [
        "apple",
        "banana",
        "cherry",
        "lemon",
        "mango",
        "nectar",
        "olive",
        "peach",
        "quince",
        "raisin",
        "tomato",
        "walnut",
        "juggle",
    ]
    assert [word for word in words if word in tokens] == ["apple"]  # `untrimmed_train` counts where there is no `train`
    origin = json.loads((folder / "preparation.json").read_text())["vocabulary"]
    assert origin == f"{len(tokens)} tokens, trained on 1 training captions"
    for split in ("train", "untrimmed_train"):
        del labeled[split][-1]
    folder = prepare_entries(plan(tmp_path, name="asked", max_skipped_fraction=0.5), labeled)
    assert "who" in (folder / "vocab.txt").read_text(encoding="utf-8").split()
    origin = json.loads((folder / "preparation.json").read_text())["vocabulary"]
    assert origin.endswith(" tokens, trained on 4 training questions")
    some = {"train": [told(raw, "j", actions=(Action("run"),))], "test": labeled["test"]}
    bare = prepare_entries(plan(tmp_path, name="bare", max_skipped_fraction=0.5), some)
    assert not (bare / "vocab.txt").exists()
    assert json.loads((bare / "preparation.json").read_text())["vocabulary"].startswith("none: no training captions or")


def test_official_labels_keep_their_order_and_have_to_hold_all(tmp_path, labeled):
    order = ("sit", "jump", "run", "añadir")
    folder = prepare_entries(plan(tmp_path, labels=order, max_skipped_fraction=0.5), labeled)
    assert json.loads((folder / "labels.json").read_text(encoding="utf-8")) == list(order)
    with pytest.raises(PreparationError, match=r"dogs: labels \['run'\] are not among the 2 classes"):
        prepare_entries(
            plan(tmp_path / "other", labels=("sit", "añadir"), max_skipped_fraction=0.5),
            labeled,
        )
    assert not (tmp_path / "other" / "dogs").exists()


def test_without_questions_actions_and_views_there_are_no_files_of_them(tmp_path):
    folder = prepare_entries(plan(tmp_path), {"test": entries(tmp_path / "raw", 1)})
    assert sorted(p.name for p in folder.iterdir()) == ["1.0.0", "preparation.json"]
    assert not (folder / "1.0.0" / "views.json").exists()


def test_views_name_what_is_stored_in_their_own_order(tmp_path, labeled):
    views = {
        "mixed": {"e": None, "d": (0,), "b": None},
        "broken_too": {"broken": None, "b": None, "unheard": (0, 1)},
        "nothing": {"broken": None},
    }
    folder = prepare_entries(plan(tmp_path, views=views, max_skipped_fraction=0.5), labeled)
    assert json.loads((folder / "1.0.0" / "views.json").read_text()) == {
        "mixed": [["test", 0, None], ["train_later", 0, [0]], ["train", 1, None]],
        "broken_too": [["train", 1, None]],
        "nothing": [],
    }
    assert json.loads((folder / "preparation.json").read_text())["views"] == {
        "mixed": {"clips": 3, "captions": 1, "questions": 4, "missing": 0},
        "broken_too": {"clips": 1, "captions": 0, "questions": 2, "missing": 2},
        "nothing": {"clips": 0, "captions": 0, "questions": 0, "missing": 1},
    }
    assert [record.id for record in open_records(folder, "mixed")] == ["e", "d", "b"]
    assert list(splits(folder)) == [*labeled, *views]
    assert "view broken_too: 1 clips, 2 more are missing" in preparation.describe(folder)
    assert "view mixed: 3 clips\n" in preparation.describe(folder)


def test_prepared_and_read_without_tensorflow_and_without_noise(tmp_path):
    program = (
        "import sys\n"
        "from svilm_data.datasets.moving_shapes import prepare\n"
        "from svilm_jax.input.records import open_records\n"
        "folder = prepare(sys.argv[1], sizes={'train': 4})\n"
        "assert len(open_records(folder, 'train')[0].captions) == 2\n"
        "assert not {'tensorflow', 'torch', 'jax'} & set(sys.modules), sorted(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""
