"""Installs carried wheels, and this project, into a folder of a machine without network.

    python experiments/accelerator/install.py experiments/accelerator/carried/full /tmp/site
    export PYTHONPATH=/tmp/site

Wheels of packages that the machine already has, in a version that `requirements/base.in` and `build.in` admit, are
skipped, so
that the machine's CUDA packages stay unchanged.
"""

import argparse
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Installs the missing packages, and prints their names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", type=Path, help="folder of wheels that wheels.sh collected")
    parser.add_argument("target", type=Path, help="folder for PYTHONPATH")
    args = parser.parse_args()
    wheels = sorted(args.wheels.glob("*.whl"))
    if not wheels:
        sys.exit(f"{args.wheels}: no wheels; run experiments/accelerator/wheels.sh on a machine with network access")
    missing = [wheel for wheel in wheels if not _present(wheel)]
    print("installing", *(wheel.name.split("-")[0] for wheel in missing))
    _pip(args.target, *map(str, missing))
    with tempfile.TemporaryDirectory() as copy:  # a build writes files next to the sources
        for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        for name in ("requirements", "svilm_jax", "data", "configs"):
            shutil.copytree(ROOT / name, Path(copy) / name, ignore=shutil.ignore_patterns("__pycache__"))
        _pip(args.target, "--no-build-isolation", copy)


def _present(wheel: Path) -> bool:
    """Returns whether the package of a wheel is installed in an accepted version."""
    name = parse_wheel_filename(wheel.name)[0]
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    files = [ROOT / "requirements" / name for name in ("base.in", "build.in")]
    for line in "\n".join(file.read_text() for file in files).splitlines():
        text = line.split("#")[0].strip()
        if text and canonicalize_name(Requirement(text).name) == name:
            return Requirement(text).specifier.contains(version, prereleases=True)
    return True


def _pip(target: Path, *arguments: str) -> None:
    if arguments:
        options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--upgrade"]
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), *arguments]
        path = os.pathsep.join(filter(None, (str(target), os.environ.get("PYTHONPATH"))))  # with a newer setuptools
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path})


if __name__ == "__main__":
    main()
