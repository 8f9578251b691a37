"""Are records found by number, and is what is missing or damaged named?"""

import pickle
import shutil

import pytest

from svilm_jax.input.records import DatasetError, open_records, splits, version_folder


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
