"""Which data do many tests share? A tiny prepared dataset, made once a test session, and the folder of real data."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SIZES = {
    "train": 16,
    "validation": 8,
    "test": 8,
    "hard_test": 8,
    "twins_test": 4,
    "untrimmed_train": 2,
    "untrimmed_test": 2,
}
PATIENCE = 300.0  # seconds that one test process waits for another's dataset


@pytest.fixture(scope="session")
def moving_shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny moving_shapes, for `config.input.dataset`. Shared by all tests: read it, do not write to it."""
    base = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent  # each worker process has a folder of its own in this one
    return once(base / "moving_shapes", _prepare)


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder of official annotation files and real clips, which are no part of this repository."""
    folder = Path(os.environ.get("SVILM_REALDATA") or REPOSITORY.parent / "shared" / "realdata")
    if not (folder / "videos" / "index.json").is_file():
        pytest.skip(f"no real data: {folder.name}/videos/index.json is absent (set SVILM_REALDATA to its folder)")
    return folder


def once(folder: Path, make: Callable[[Path], Path]) -> Path:
    """What `make(folder)` returns, made by whichever process comes first while the others wait for it.

    Making a directory and renaming a file are atomic: the first decides who works, the second says that it is done.
    """
    done, failed = folder / "done", folder / "failed"
    try:
        folder.mkdir()
    except FileExistsError:
        deadline = time.monotonic() + PATIENCE
        while not done.exists():
            if failed.exists() or time.monotonic() > deadline:
                pytest.fail(f"{folder.name}: another test process could not make it in {PATIENCE:.0f} s")
            time.sleep(0.1)
        return Path(done.read_text(encoding="utf-8"))
    try:
        made = make(folder)
    except BaseException:
        failed.touch()
        raise
    (folder / "writing").write_text(str(made), encoding="utf-8")
    (folder / "writing").rename(done)
    return Path(made)


def _prepare(folder: Path) -> Path:
    from svilm_data.moving_shapes import prepare

    return prepare(folder, sizes=SIZES, workers=1)
