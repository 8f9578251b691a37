"""Documented commands, run in miniature one after another, and the build of the documentation."""

import csv
import fnmatch
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.commands import COMMANDS, ROOT
from tests.docs.manifest import ELSEWHERE, RUNS

ENVIRONMENT = {
    **os.environ,
    "JAX_PLATFORMS": "cpu",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",
    "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
}


def normalized(text: str) -> str:
    return shlex.join(shlex.split(text, comments=True))


def test_every_command_of_the_manifest_is_documented():
    documented = {normalized(command.text) for command in COMMANDS}
    assert [run.text for run in RUNS if normalized(run.text) not in documented] == []


def test_every_documented_command_is_run_somewhere():
    texts = {normalized(run.text) for run in RUNS}
    run = {command.kind for command in COMMANDS if normalized(command.text) in texts}
    for test in ELSEWHERE.values():
        assert (ROOT / test).exists(), test
    documented = {command.kind for command in COMMANDS if command.words[0] == "svilm"}
    assert [
        kind
        for kind in sorted(documented - run)
        if not any(fnmatch.fnmatchcase(kind, pattern) for pattern in ELSEWHERE)
    ] == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a reader may be, with the repository's configs."""
    path = tmp_path_factory.mktemp("reader")
    (path / "configs").symlink_to(ROOT / "configs")
    return path


@pytest.mark.services
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.text[:50])
def test_a_documented_command_runs(run, folder):
    words = [*shlex.split(run.text), *run.more]
    done = subprocess.run(
        [sys.executable, "-m", "svilm_jax.main", *words[1:]],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert [path for path in run.leaves if not (folder / path).exists()] == []
    if "moving_shapes --out" in run.text:
        _collect_videos(folder, folder / "runs/data/moving_shapes_raw")


def _collect_videos(folder: Path, raw: Path) -> None:
    """The rendered training clips as the reader's VIDEOS and captions.csv."""
    (folder / "VIDEOS").symlink_to(raw / "videos" / "train")
    clips = json.loads((raw / "annotations" / "train.json").read_text())["videos"]
    with (folder / "captions.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["video", "caption"])
        rows.writerows((Path(clip["file"]).name, clip["sentences"][0]["caption"]) for clip in clips)


@pytest.mark.services
def test_the_documentation_builds_without_warnings(tmp_path):
    """With every notebook executed."""
    pytest.importorskip("myst_nb")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    command += ["-D", "nb_execution_mode=force", "-d", str(tmp_path / "trees")]
    done = subprocess.run(
        [*command, "docs", str(tmp_path / "html")],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    pages = {page.relative_to(tmp_path / "html").as_posix(): page.read_text() for page in tmp_path.rglob("*.html")}
    assert "notebooks/read_a_run.html" in pages
    assert "<math " in pages["method.html"]
    for name, text in pages.items():
        assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//', text), name  # no network
