"""Tests of locks and output paths: one writer at a time, its name in the error, and no files left by a refusal."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from svilm_jax.filesystem import locks
from svilm_jax.filesystem.locks import LockError, holder_of, locked, locked_output
from svilm_jax.filesystem.output_paths import OutputError, check_output_file, check_output_folder

ROOT = Path(__file__).parents[2]
HOLDER = """
import os, sys
from pathlib import Path
from svilm_jax.filesystem.locks import locked
with locked(Path(sys.argv[1]), "the place"):
    if sys.argv[2] == "alone":
        print(flush=True)
    elif os.fork() == 0:
        print(flush=True)  # by the child, so that it has left the fork
        sys.stdin.read()  # the child lives on
        os._exit(0)
    sys.stdin.read()
"""


def holder(file, how="alone"):
    """A process that holds a lock until its input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file), how],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "\n"
    return process


def test_a_second_process_is_told_who_holds_the_lock(tmp_path):
    file = tmp_path / ".lock"
    with holder(file) as process:
        told = rf"the place: in use by process {process.pid} on .*\(-c .* since 20"
        with pytest.raises(LockError, match=told), locked(file, "the place"):
            pytest.fail("two hold the same lock")
        process.communicate("")
    assert not file.exists()
    with locked(file, "the place"):
        assert file.exists()
        with pytest.raises(LockError, match=f"process {os.getpid()} "), locked(file, "the place"):
            pytest.fail("two threads hold the same lock")
    assert list(tmp_path.iterdir()) == []


def test_a_look_tells_who_holds_the_lock(tmp_path):
    file = tmp_path / ".lock"
    assert holder_of(file) is None
    assert not file.exists()
    with holder(file) as process:
        found = holder_of(file)
        assert found is not None
        assert found["pid"] == process.pid
        process.kill()
    assert file.exists()
    assert holder_of(file) is None


def test_a_look_does_not_keep_others_from_the_lock(tmp_path, monkeypatch):
    """`holder_of` has the lock of a killed process for a moment, here until somebody else has tried once."""
    file = tmp_path / ".lock"
    file.touch()
    look = os.open(file, os.O_RDONLY)
    fcntl.flock(look, fcntl.LOCK_SH)
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: fcntl.flock(look, fcntl.LOCK_UN))
    with locked(file, "the place"):
        assert holder_of(file) is not None
    os.close(look)


@pytest.mark.parametrize("how", ["alone", "forks"])
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, how):
    """Even where a child of it lives on, which inherited the open file."""
    file = tmp_path / ".lock"
    with holder(file, how) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert file.exists()
        with locked(file, "the place"):
            pass
    assert not file.exists()


def test_an_output_is_locked_beside_it(tmp_path):
    out = tmp_path / "new" / "er" / "features.parquet"
    with locked_output(out), pytest.raises(LockError, match=r"features\.parquet: in use by"), locked_output(out):
        pass
    assert list(tmp_path.iterdir()) == []  # folders into which nothing was written go with the lock
    with locked_output(out):
        out.write_text("")
    assert [path.name for path in out.parent.iterdir()] == ["features.parquet"]


def test_outputs_that_cannot_be_written_are_refused(tmp_path):
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("")
    folder.mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    check_output_file(None)
    check_output_folder(None)
    for path in (file, folder / "new", tmp_path / "new" / "er"):
        check_output_file(path)
    for path in (folder, folder / "new", tmp_path / "new" / "er"):
        check_output_folder(path)
    with pytest.raises(OutputError, match=f"--out={folder}: is a folder, expected the name of a file"):
        check_output_file(folder)
    with pytest.raises(OutputError, match=f"--workdir={file}: is a file, expected a folder"):
        check_output_folder(file, "--workdir")
    for check in (check_output_file, check_output_folder):
        with pytest.raises(OutputError, match=f"{file} is a file, expected a folder"):
            check(file / "below" / "it")
        with pytest.raises(OutputError, match="is a dangling link, expected a folder"):
            check(tmp_path / "link" / "below")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link"]


def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write anywhere
    with pytest.raises(OutputError, match=f"{tmp_path} is not writable by this user; choose another"):
        check_output_file(tmp_path / "out.json")
    with pytest.raises(OutputError, match=f"{tmp_path} is not writable by this user; choose another"):
        check_output_folder(tmp_path)
