"""The wheel: its content, its metadata, and its use from outside the checkout."""

import email
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("LICENSE", "README.md", "pyproject.toml", "setup.py", "configs", "data", "requirements", "svilm_jax")
# In its own process: the paths of the packages, a packaged config read by name, and the vocabulary of moving_shapes.
USE = """
import svilm_configs, svilm_data, svilm_jax
from svilm_jax.cli.config_file import find_config_file, read_config
print(svilm_configs.__file__, svilm_data.__file__, svilm_jax.__file__, find_config_file("pretrain/demo"), sep="\\n")
assert read_config("pretrain/demo:objectives=contrast", ()).objectives.keys() == {"global_contrast"}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without network from a copy, since a build leaves files beside its sources."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--wheel-dir", str(out), str(source)], check=True)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = set()
    for folder, package in (("svilm_jax", "svilm_jax"), ("data", "svilm_data"), ("configs", "svilm_configs")):
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".md":
                expected.add(f"{package}/{file.relative_to(ROOT / folder).as_posix()}")
    assert expected - names == set()
    assert {name.split("/")[0] for name in names} == {
        *("svilm_jax", "svilm_data", "svilm_configs"),
        f"{'-'.join(wheel.name.split('-')[:2])}.dist-info",
    }
    assert {"svilm_jax/py.typed", "svilm_data/py.typed"} <= names


def test_metadata_and_license(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
        license_text = archive.read(name.replace("METADATA", "licenses/LICENSE")).decode()
        scripts = archive.read(name.replace("METADATA", "entry_points.txt")).decode()
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Apache License" in license_text
    assert "svilm = svilm_jax.main:main" in scripts
    base = [line.split(">")[0].strip() for line in (ROOT / "requirements" / "base.in").read_text().splitlines()]
    wanted = metadata.get_all("Requires-Dist")
    for package in (name for name in base if name and not name.startswith("#")):
        assert any(line.startswith(package) and "extra ==" not in line for line in wanted), package
    assert {"spacy", "serve", "tpu", "cuda", "dev"} <= set(metadata.get_all("Provides-Extra"))


def test_the_wheel_is_usable_from_outside_the_checkout(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)  # as `pip install --no-deps --target` would
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", USE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [Path(line).is_relative_to(site) for line in done.stdout.split()] == [True] * 4
