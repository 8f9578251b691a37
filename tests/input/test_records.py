"""Tests of records by number, and of errors for missing or damaged ones."""

import json
import os
import pickle
import shutil

import pytest

from svilm_jax.input.records import DatasetError, RecordView, open_records, splits, version_folder

# Records of two stored splits in an order of their own, one of them twice.
VIEW = [["train", 5, None], ["validation", 1, [1]], ["train", 0, [1, 0]], ["train", 5, []]]


@pytest.fixture
def viewed(numbered, tmp_path):
    """A copy with views; returns the version folder and a function that writes others."""
    folder = tmp_path / "numbered" / "1.0.0"
    shutil.copytree(numbered, folder)

    def write(views):
        (folder / "views.json").write_text(views if isinstance(views, str) else json.dumps(views))

    write({"some": VIEW, "none": []})
    return folder, write


def test_records_by_number(numbered):
    records = open_records(numbered, "train")
    assert len(records) == 24
    assert [record.id for record in records[2:5]] == ["clip2", "clip3", "clip4"]
    assert records[-1].id == "clip23"
    assert records[3].captions[1].end == 0.5
    assert records[3].captions[0].phrases == ("a red square", "floor 3")
    assert records[3].masks.shape == (8, 20, 24)
    assert [record.id for record in open_records(numbered, "validation")] == [f"clip{i}" for i in range(6)]
    with pytest.raises(IndexError, match="record 24 of 24"):
        records[24]


def test_the_folder_above_the_version_will_do(numbered):
    assert version_folder(numbered.parent) == numbered
    assert splits(numbered.parent) == {"train": 24, "validation": 6, "mixed": 6}


def test_sources_travel_and_identify_their_content(numbered):
    records = open_records(numbered, "train")
    records[0]  # opens its files
    copy = pickle.loads(pickle.dumps(records))  # noqa: S301
    assert copy[5].id == "clip5"
    assert copy.identity == records.identity == open_records(numbered.parent, "train").identity
    assert records.identity != open_records(numbered, "validation").identity


def test_what_is_not_there_is_named(numbered, tmp_path):
    with pytest.raises(DatasetError, match="no dataset given"):
        open_records("", "train")
    with pytest.raises(DatasetError, match="gone: no such folder"):
        open_records(tmp_path / "gone", "train")
    with pytest.raises(DatasetError, match=r"did you mean 'train'.*train \(24\).*validation \(6\)"):
        open_records(numbered, "trian")
    with pytest.raises(DatasetError, match="did you mean .*numbered"):
        open_records(numbered.parent.parent, "train")
    with pytest.raises(DatasetError, match="not a prepared dataset"):
        open_records(tmp_path, "train")
    for version in ("1.0.0", "2.0.0"):
        shutil.copytree(numbered, tmp_path / "two" / version)
    with pytest.raises(DatasetError, match=r"2 versions \(1\.0\.0, 2\.0\.0\)"):
        open_records(tmp_path / "two", "train")


def test_damage_is_named(numbered, tmp_path):
    copy = tmp_path / "copy" / "1.0.0"
    shutil.copytree(numbered, copy)
    (shard,) = copy.glob("*-validation.*")
    content = shard.read_bytes()
    middle = len(content) // 2
    shard.write_bytes(content[:middle] + bytes(2000) + content[middle + 2000 :])
    with pytest.raises(DatasetError, match=r"-validation\..*(damaged|cannot be opened|holds)"):
        list(open_records(copy, "validation"))
    shard.unlink()
    with pytest.raises(DatasetError, match=r"-validation\..*missing"):
        open_records(copy, "validation")
    assert len(open_records(copy, "train")) == 24
    (copy / "dataset_info.json").write_text("{")
    with pytest.raises(DatasetError, match=r"dataset_info\.json"):
        open_records(copy, "train")


@pytest.mark.parametrize("length", [0.5, 0.9, 65536, 0], ids=str)
def test_a_file_that_is_cut_off_is_refused_when_a_dataset_is_opened(numbered, tmp_path, length):
    """Also at the border of a block, where the size looks right."""
    copy = tmp_path / "copy" / "1.0.0"
    shutil.copytree(numbered, copy)
    (shard,) = copy.glob("*-validation.*")
    size = shard.stat().st_size
    os.truncate(shard, int(size * length) if 0 < length < 1 else length)
    if shard.stat().st_size == size:
        pytest.skip("the file has a single block")
    with pytest.raises(DatasetError, match=r"-validation\..* is cut off or damaged \(.*copy or prepare"):
        open_records(copy, "validation")
    assert len(open_records(copy, "train")) == 24


def test_a_view_gives_stored_records_in_its_own_order_with_some_of_their_captions(viewed):
    folder, _ = viewed
    view = open_records(folder.parent, "some")
    assert isinstance(view, RecordView)
    train, validation = open_records(folder, "train"), open_records(folder, "validation")
    assert [record.id for record in view] == ["clip5", "clip1", "clip0", "clip5"]
    assert [record.captions for record in view] == [
        train[5].captions,
        validation[1].captions[1:],
        train[0].captions[::-1],
        (),
    ]
    assert view[2].video == train[0].video
    assert view[2].objects == train[0].objects
    assert splits(folder) == {"train": 24, "validation": 6, "mixed": 6, "some": 4, "none": 0}
    assert str(view) == "RecordView(numbered 1.0.0, some: 4 records)"


@pytest.mark.parametrize("split", ["validation", "some"])
def test_a_view_is_counted_as_a_stored_split_is(viewed, split):
    records = open_records(viewed[0], split)
    count, ids = len(records), [record.id for record in records]
    assert [records[-1].id, records[-count].id] == [ids[-1], ids[0]]
    for part in (slice(1, 3), slice(None, None, -1), slice(-2, None), slice(0, 99), slice(3, 1)):
        assert [record.id for record in records[part]] == ids[part]
    for number in (count, -count - 1):
        with pytest.raises(IndexError, match=rf"record {number} of {count} in numbered/{split}"):
            records[number]


def test_a_view_travels_and_identifies_its_rows(viewed):
    folder, write = viewed
    view = open_records(folder, "some")
    view[0]  # opens files
    copy = pickle.loads(pickle.dumps(view))  # noqa: S301
    assert [record.id for record in copy] == [record.id for record in view]
    identity = view.identity
    assert copy.identity == identity == open_records(folder, "some").identity
    assert len(identity) == 16
    changed = {
        "order": VIEW[::-1],
        "captions": [["train", 5, [0]], *VIEW[1:]],
        "number": [["train", 6, None], *VIEW[1:]],
        "split": [["mixed", 5, None], *VIEW[1:]],
        "fewer": VIEW[:-1],
    }
    write({"some": VIEW, **changed})
    others = {name: open_records(folder, name).identity for name in changed}
    assert len({identity, *others.values()}) == 1 + len(changed)
    for name, rows in changed.items():
        write({"some": rows})
        assert open_records(folder, "some").identity != identity, name


def test_an_empty_view_is_no_error(viewed):
    view = open_records(viewed[0], "none")
    assert (len(view), list(view), view[:], view.name) == (0, [], [], "numbered")
    assert view.identity == pickle.loads(pickle.dumps(view)).identity  # noqa: S301


def test_views_are_among_the_splits_that_are_told(viewed):
    with pytest.raises(DatasetError, match=r"did you mean 'some'.*mixed \(6\), some \(4\), none \(0\)"):
        open_records(viewed[0], "som")


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ("{", r"views\.json: cannot be read"),
        ([VIEW], r"views\.json: cannot be read"),
        ({"some": [["train", 1]]}, r"views\.json: cannot be read \(a row does not have three values\)"),
        ({"some": [["trian", 1, None]]}, r"view 'some' refers to record 1 of split 'trian', which does not exist"),
        ({"some": [["train", 24, None]]}, r"view 'some' refers to record 24 of split 'train', which does not exist"),
        ({"some": [["train", -1, None]]}, r"record -1 of split 'train'"),
        ({"some": [["train", 3, [0, 2]]]}, r"view 'some' refers to caption 2 of the 2 of clip3"),
    ],
)
def test_a_view_that_does_not_fit_is_named(viewed, views, message):
    folder, write = viewed
    write(views)
    with pytest.raises(DatasetError, match=message):
        list(open_records(folder, "some"))
