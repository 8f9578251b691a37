"""Fixtures shared by all tests: a tiny prepared dataset, created once, and the folder of real files if present."""

import atexit
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

import tests.shape_checks  # noqa: F401 - named in the import hook
from tests.environments import (  # noqa: F401 - hooks of pytest
    pytest_addoption,
    pytest_configure,
    pytest_ignore_collect,
    pytest_runtest_setup,
    select,
)

# Before JAX is imported, and for every process that a test starts: the processes of a test run share compiled programs,
# and nothing goes to the user's cache folder. Workers inherit the variables of the controller.
if "SVILM_TEST_CACHE" not in os.environ:
    os.environ["SVILM_TEST_CACHE"] = tempfile.mkdtemp(prefix="svilm_tests_compiled_")
    atexit.register(shutil.rmtree, os.environ["SVILM_TEST_CACHE"], ignore_errors=True)
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ["SVILM_TEST_CACHE"]
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"
# A shell that starts `make test` in the background has it ignore Ctrl-C, and so would the processes of the tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).parents[1]
REALDATA = Path(__file__).parents[2] / "shared" / "realdata"
# Clips of each split: enough for every evaluator to have something to read, made in about three seconds.
SIZES = {
    "train": 16,
    "validation": 8,
    "test": 8,
    "hard_test": 8,
    "hard_validation": 8,
    "twins_test": 4,
    "twins_validation": 4,
    "untrimmed_train": 2,
    "untrimmed_test": 2,
    "actions_train": 18,
    "actions_test": 9,
}
# Files whose processes or compilations take minutes: they start first, so that no worker waits for another at the end.
LONG = (
    "tests/parallel/test_presets.py",
    "tests/test_tasks.py",
    "tests/training/test_resume.py",
    "tests/training/test_restore_elsewhere.py",
    "tests/training/initialization",
    "tests/parallel/test_chunked_contrastive.py",
    "tests/training/test_broken_checkpoints.py",
    "tests/models",
    # Of `make test-services`.
    "tests/training/test_processes.py",
    "tests/slurm/test_training.py",
    "tests/training/test_stop_signals.py",
    "tests/training/test_experiment_trackers.py",
    "tests/test_real_datasets.py",
    "tests/docs/test_commands.py",
    "tests/slurm/test_sweep.py",
    "tests/experiments/test_accelerator.py",
    "tests/cli/test_command_line.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    """Selects the tests of `--environment`; moves the tests of `LONG` to the front, the order within a file stays."""
    select(items, config)
    rank = {name: place for place, name in enumerate(LONG)}

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(ROOT)
        return min((rank.get(name.as_posix(), len(LONG)) for name in (path, path.parent)), default=len(LONG))

    items.sort(key=place)


# Packages whose annotated shapes are checked in every call. Not their pytrees: JAX rebuilds those with other leaves.
CHECKED = ("models", "objectives", "parallel")
UNCHECKED = ("svilm_jax.models.outputs",)
_PATIENCE = 1800.0  # seconds for the process that makes the dataset; if it fails, it is known at once


def checked_modules() -> list[str]:
    """Names of the modules whose functions are checked."""
    root = Path(__file__).parents[1]
    files = (file for package in CHECKED for file in sorted((root / "svilm_jax" / package).rglob("*.py")))
    names = (".".join(file.relative_to(root).with_suffix("").parts) for file in files if file.stem != "__init__")
    return [name for name in names if name not in UNCHECKED]


install_import_hook(checked_modules(), "tests.shape_checks.check_shapes")


@pytest.fixture(scope="session")
def moving_shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny moving_shapes, as `svilm prepare` writes it; one for all processes of a test run."""
    from svilm_data.datasets.moving_shapes import NAME, prepare

    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # which the workers share
    folder = base / "prepared"
    try:
        folder.mkdir()
    except FileExistsError:
        return _wait_for(folder / NAME)
    try:
        return prepare(folder, sizes=SIZES, workers=1)
    except BaseException:
        shutil.rmtree(folder)  # so that the others stop waiting
        raise


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Real clips, which do not belong to the repository: $SVILM_REALDATA or ../shared/realdata."""
    folder = Path(os.environ.get("SVILM_REALDATA") or REALDATA)
    if not folder.is_dir():
        pytest.skip(f"no real clips: {folder} does not exist (set SVILM_REALDATA)")
    return folder


@pytest.fixture(scope="module")
def compiled_in_haste() -> Iterator[None]:
    """For a step or two of a small model: the compiler's optimizations would take longer than they save."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def _wait_for(folder: Path) -> Path:
    """The dataset appears complete, since preparation renames it into place."""
    end = time.monotonic() + _PATIENCE
    while not folder.is_dir():
        if not folder.parent.is_dir() or time.monotonic() > end:
            pytest.fail(f"{folder}: the process that prepares it failed or takes longer than {_PATIENCE:.0f} s")
        time.sleep(0.2)
    return folder
