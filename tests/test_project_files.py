"""Consistency of metadata, lock files, linters and continuous integration."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.environments import PACKAGES

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = ("lock.txt", "lock-dev.txt", "lock-docs.txt")
ON_TOP = {"lock-writers.txt": ("wandb", "trackio")}  # of the environment of all others -> what they add
FEATURES = {
    "beam": "beam",
    "launch": "launch",
    "minilm": "minilm",
    "onnx": "onnx",
    "ray": "ray",
    "saved-model": "tf",
    "search": "search",
    "tpu": "tpu",
}


def locked(name: str) -> set[str]:
    """The `name==version ; marker` lines of a lock file."""
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return {line.removesuffix("\\").strip() for line in lines if re.match(r"[A-Za-z0-9]", line)}


def declared(*names: str) -> set[str]:
    """The packages that `requirements/*.in` files name."""
    lines = [line for name in names for line in (ROOT / "requirements" / f"{name}.in").read_text().splitlines()]
    texts = (line.split("#")[0].strip() for line in lines)
    return {canonicalize_name(Requirement(text).name) for text in texts if text}


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == PROJECT["version"].partition(".dev")[0]


def test_the_citation_names_both_papers():
    references = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    assert [reference["url"].rpartition("/")[2] for reference in references] == ["2303.16341", "2204.10938"]


def test_continuous_integration_runs_the_declared_versions_of_python():
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())["jobs"]["test"]
    prefix = "Programming Language :: Python :: 3."
    versions = [entry.rpartition(" ")[2] for entry in PROJECT["classifiers"] if entry.startswith(prefix)]
    assert job["strategy"]["matrix"]["python-version"] == versions == ["3.11", "3.12", "3.13"]
    assert any(step.get("run", "").endswith(" test") for step in job["steps"])
    assert all(re.search(r"@v\d+$", step["uses"]) for step in job["steps"] if "uses" in step)


def test_pre_commit_runs_the_linters_of_make_lint():
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    commands = [line.strip().replace("$(BIN)", ".venv/bin").removesuffix(" .") for line in recipe[1].splitlines()]
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = [hook["entry"].removesuffix(" --force-exclude") for hook in repository["hooks"]]
    assert hooks == [command.replace(" . --check", " --check") for command in commands]


@pytest.mark.parametrize("name", [*LOCKS, *ON_TOP, *(f"lock-{feature}.txt" for feature in FEATURES)])
def test_lock_files_are_hashed_and_hold_no_address(name):
    text = (ROOT / "requirements" / name).read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links|^-", text, re.MULTILINE)
    assert text.count("==") <= text.count("--hash=sha256:")


def test_lock_files_hold_what_is_declared_in_the_same_versions():
    runtime, development, documents = (
        {canonicalize_name(line.partition("==")[0]) for line in locked(name)} for name in LOCKS
    )
    assert declared("base", "spacy", "build") - runtime == set()
    assert declared("base", "spacy", "build", "serve", "dev") - development == set()
    assert declared("base", "spacy", "build", "docs") - documents == set()
    versions = {name: {line.partition(";")[0].strip() for line in locked(name)} for name in LOCKS}
    assert versions["lock.txt"] - versions["lock-dev.txt"] == set()
    assert versions["lock.txt"] - versions["lock-docs.txt"] == set()


@pytest.mark.parametrize("name", ON_TOP)
def test_what_is_installed_on_top_changes_no_version(name):
    def versions(*files):
        lines = (line.partition(";")[0].strip() for file in files for line in locked(file))
        found = {}
        for package, _, version in (line.partition("==") for line in lines):
            found.setdefault(canonicalize_name(package), set()).add(version)
        return found

    below, above = versions(*LOCKS), versions(name)
    assert declared(*ON_TOP[name]) - above.keys() == set()
    assert [package for package in above.keys() & below.keys() if above[package] - below[package]] == []


@pytest.mark.parametrize("feature", FEATURES)
def test_the_environment_of_a_feature_is_locked_and_tested(feature):
    development = {canonicalize_name(line.partition("==")[0]) for line in locked("lock-dev.txt")}
    packages = {canonicalize_name(line.partition("==")[0]) for line in locked(f"lock-{feature}.txt")}
    assert declared(FEATURES[feature]) - packages - development == set()
    assert locked(f"lock-{feature}.txt").isdisjoint(locked("lock-dev.txt"))
    features = re.search(r"^FEATURES := (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert features is not None
    assert features[1].split() == list(FEATURES) == list(PACKAGES)
    mark = f'mark.environment("{feature}")'
    assert any(mark in file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
