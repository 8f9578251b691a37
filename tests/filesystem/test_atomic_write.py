"""Tests of atomic writes: all of a file or directory, or what was there before."""

import pytest

from svilm_jax.filesystem.atomic_write import atomic_write


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with atomic_write(path, sync=True) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == tmp_path  # a rename across file systems is not atomic
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "a.json"
    path.write_text("old")

    def interrupted():
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_replaced(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (tmp_path / ".model.tmp").mkdir()
    (tmp_path / ".model.tmp" / "garbage").touch()
    with atomic_write(path) as temporary:
        assert not temporary.exists()
        temporary.mkdir()
        (temporary / "weights").touch()
    assert [file.name for file in path.iterdir()] == ["weights"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_with_files_is_not_replaced(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "weights").touch()

    def write():
        with atomic_write(path) as temporary:
            temporary.mkdir()

    with pytest.raises(OSError, match="not empty"):
        write()
    assert [file.name for file in path.iterdir()] == ["weights"]


def test_concurrent_writers_have_files_of_their_own(tmp_path):
    path = tmp_path / "a"
    with atomic_write(path, unique=True) as one, atomic_write(path, unique=True) as other:
        one.write_text("1")
        other.write_text("2")
    assert path.read_text() == "1"
    assert list(tmp_path.iterdir()) == [path]
