"""Tests of the fuzzing study: every damaged input is counted, and an uncounted one is detected."""

import json
import subprocess
import sys

import pytest

from tests.scripts import EXPERIMENTS, script

FILE = EXPERIMENTS / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz():
    return script("fuzz")


def test_some_damaged_inputs(moving_shapes, tmp_path):
    out = tmp_path / "fuzz.json"
    command = [sys.executable, str(FILE), f"--dataset={moving_shapes}", "--count=32", "--seed=7"]
    done = subprocess.run(
        [*command, f"--workdir={tmp_path / 'damaged'}", f"--out={out}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    told = json.loads(out.read_text())
    for kind in ("videos", "records"):
        assert told[kind]["seen"] == 32
        assert told[kind]["left_out"] == told[kind]["named"] > 10  # by its id, or by its number
    assert told["files"]["files"] == 3
    assert told["every_case_counted"]


@pytest.mark.parametrize(
    "change",
    [
        {"videos": {"ended": "CRASHED with -11"}},
        {"records": {"ended": "HUNG"}},
        {"videos": {"ended": "read", "seen": 29, "valid": 1, "named": 28, "wrong": 0}},
        {"files": [{"ended": "CRASHED with 1"}]},
        {"files": [{"ended": "read", "seen": 32, "valid": 32, "named": 0, "wrong": 1}]},
    ],
)
def test_what_is_not_counted_is_seen(fuzz, change):
    fine = {"ended": "read", "seen": 30, "valid": 2, "named": 28, "wrong": 0}
    told = {"videos": fine, "records": fine, "files": [{"ended": "refused", "why": ""}, fine]}
    assert fuzz.summary(told, 30)["every_case_counted"]
    assert not fuzz.summary({**told, **change}, 30)["every_case_counted"]
