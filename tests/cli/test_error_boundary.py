"""Tests of the error boundary of the command line: failures reported in one line, and their exit status."""

import ast
import errno
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
import zlib

import numpy as np
import pytest

from svilm_jax import main
from svilm_jax.cli import error_boundary, score
from svilm_jax.errors import UserError
from tests.cli.test_command_line import ROOT


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UserError("config.train.steps=0: expected at least 1"), "config.train.steps=0: expected at least 1"),
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), "a/b: No space left on device; free some space"),
        (OSError(errno.EROFS, "Read-only file system", "a"), "a: Read-only file system; choose a place"),
        (PermissionError(errno.EACCES, "Permission denied", b"a"), "a: Permission denied; check its permissions"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "a"), "a: Is a directory; give a file"),
        (OSError("a library's own\n words"), "a library's own words"),
        (TimeoutError(), "TimeoutError"),
        (sqlite3.OperationalError("database or disk is full"), "database or disk is full"),
        (UnicodeEncodeError("utf-8", "a \ud83d dog", 2, 3, "surrogates not allowed"), r"'a \ud83d dog'"),
        (zlib.error("Error -3 while decompressing"), "a damaged file (Error -3 while decompressing)"),
        (zipfile.BadZipFile("Bad CRC-32"), "a damaged file (Bad CRC-32)"),
        (EOFError(), "a damaged file (EOFError)"),
        (json.JSONDecodeError("Expecting value", "", 0), "a damaged file (Expecting value"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "not UTF-8 (invalid start byte at byte 0)"),
        (MemoryError(), "out of memory"),
        (RecursionError(), "nested too deeply"),
        (ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn"), "'uvicorn', which is not installed"),
        (RuntimeError("write() failed: No space left on device; writing a/b"), "a/b); free some space"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."), "the device is out of memory"),
    ],
)
def test_expected_failures_are_one_line(error, expected):
    failure = error_boundary.failure(error)
    assert failure.status == 2
    assert expected in failure.message
    assert "\n" not in failure.message


@pytest.mark.parametrize(
    "error", [TypeError("x"), KeyError("x"), RuntimeError("x"), ModuleNotFoundError("x", name="svilm_jax.gone")]
)
def test_programming_errors_keep_their_traceback(error):
    assert error_boundary.failure(error) is None


def test_every_error_class_of_the_package_is_a_user_error():
    """Errors for invalid input derive from `UserError`, so that none can be missing from the error boundary."""
    bases = {}
    for file in (*(ROOT / "svilm_jax").rglob("*.py"), *(ROOT / "data").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Error") and node.bases:
                bases[node.name] = {ast.unparse(base) for base in node.bases}
    known = {"UserError"}
    while found := {name for name, of in bases.items() if of & known} - known:
        known |= found
    assert {"ConfigError", "ReportError", "PreparationError", "DamagedRecordError"} <= known
    # An answer of the web page to a visitor, never an exit of a command.
    assert bases.keys() - known == {"BusyError"}


@pytest.mark.parametrize(("command", "kept"), [("train", "resumes"), ("prepare", "resumes"), ("export", "nothing")])
def test_an_interruption_names_the_files_that_are_kept(command, kept):
    failure = error_boundary.failure(KeyboardInterrupt(), command)
    assert failure.status == 130
    assert kept in failure.message


def test_verbose_adds_the_traceback(tmp_path, capsys):
    arguments = ["score", "retrieval", "--predictions", str(tmp_path / "gone.npy")]
    assert main.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
    for given in (["-v", *arguments], ["score", "-v", *arguments[1:]]):
        assert main.main(given) == 2
        printed = capsys.readouterr().err
        assert "Traceback" in printed
        assert printed.splitlines()[-1].startswith("svilm score: ")


def svilm(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "svilm_jax.main", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_full_disk_is_one_line_and_a_closed_pipe_is_silent(tmp_path):
    np.save(tmp_path / "s.npy", np.eye(3))
    command = [sys.executable, "-m", "svilm_jax.main", "score", "retrieval", "--predictions", str(tmp_path / "s.npy")]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "svilm score: No space left on device; free some space or choose another place\n"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_ascii_terminal_gets_escapes(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(score, "run", lambda args: print("größe \u2013 \ud83d"))
    assert main.main(["score", "retrieval", "--predictions", "x"]) == 0
    assert out.buffer.getvalue() == rb"gr\xf6\xdfe \u2013 \ud83d" + b"\n"


def test_a_missing_accelerator_is_one_line(tmp_path):
    script = (
        "import jax; from svilm_jax.cli import error_boundary\n"
        "try: jax.devices()\n"
        "except Exception as error: print(error_boundary.failure(error))"
    )
    for platform in ("cuda", "nonsense"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "JAX_PLATFORMS": platform},
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"JAX_PLATFORMS={platform}: no such device here" in done.stdout, done.stderr[-500:]


def test_ctrl_c_in_a_process(tmp_path):
    """A named pipe without a writer blocks the command while it reads its predictions."""
    os.mkfifo(tmp_path / "p.json")
    (tmp_path / "q.json").write_text('[{"id": 0, "question": "what?", "answer": "dog"}]')
    running = svilm("score", "qa", "--ground-truth", tmp_path / "q.json", "--predictions", tmp_path / "p.json")
    while True:  # until it has opened the pipe
        try:
            held = os.open(tmp_path / "p.json", os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError:
            assert running.poll() is None
            time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    printed = running.communicate()[1]
    os.close(held)
    assert running.returncode == 130
    assert printed == "svilm score: interrupted; nothing was written\n"
