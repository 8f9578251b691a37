"""Consistency of the documentation with the code: commands, links, examples, and the length of the README."""

import argparse
import functools
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from svilm_jax import main as command_line
from svilm_jax.cli.config_file import apply_overrides, read_config
from svilm_jax.cli.sweep import resolve_trials
from svilm_jax.config import default_config, resolve
from tests.docs.commands import COMMANDS, PAGES, ROOT, fenced

MAKEFILE = (ROOT / "Makefile").read_text()
# Commands that need no check: those of the system.
_SYSTEM = {"cp", "mkdir", "source", "export", "git", "pre-commit"}


def ids(command):
    return f"{command.page}: {command.text[:60]}"


def test_the_readme_is_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("command", COMMANDS, ids=ids)
def test_a_documented_command_is_valid(command, monkeypatch):
    check = {"svilm": check_svilm, "python": check_python, "make": check_make, "pip": check_pip}
    program = Path(command.words[0]).name.removesuffix("3")
    if program.endswith(".sh"):
        subprocess.run(["bash", "-n", str(ROOT / command.words[0])], check=True)
    elif program not in _SYSTEM:
        assert program in check, f"{command.page}: do not know how to check {command.text!r}"
        check[program](list(command.words[1:]), monkeypatch)


def check_svilm(argv, monkeypatch):
    """The real parser takes it, its config file exists, and its overrides fit the schema."""
    parser, chosen = command_line._parser(argv)
    args, overrides = parser.parse_known_args(argv)
    assert not overrides or getattr(chosen, "OVERRIDES", False), f"unknown arguments: {overrides}"
    file = getattr(args, "config", None) or getattr(args, "file", None)
    if args.command == "sweep" and not args.trials:
        assert resolve_trials(file, [name for name in args.sweep.split(",") if name], overrides)
    elif file:
        read_config(file, overrides)
    else:
        apply_overrides(resolve(default_config()), overrides)


class Parsed(Exception):
    """The arguments of a script were accepted."""


def check_python(argv, monkeypatch):
    """The script or module exists, and its own parser takes the arguments."""
    if argv[:2] == ["-m", "pytest"]:
        assert all((ROOT / word).exists() for word in argv[2:] if word.startswith("tests"))
        return
    script = ROOT / argv[0]
    if argv[0] == "-m":
        script, argv = ROOT / argv[1].replace(".", "/") / "__main__.py", argv[1:]
    original = argparse.ArgumentParser.parse_args

    def parse_args(self, *given):
        original(self, *given)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.syspath_prepend(str(script.parent))
    with pytest.raises(Parsed):
        runpy.run_path(str(script), run_name="__main__")


def check_make(argv, monkeypatch):
    """The targets and variables exist."""
    for word in argv:
        variable, equals, _ = word.partition("=")
        pattern = rf"^{variable} \?=" if equals else rf"^{word}:"
        assert re.search(pattern, MAKEFILE, re.MULTILINE), f"the Makefile has no {word}"


def check_pip(argv, monkeypatch):
    """The extras and requirement files exist."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["dynamic"]
    for word in argv:
        if found := re.search(r"^(?:\.|svilm_jax)\[([\w,]+)\]", word):
            assert set(found[1].split(",")) <= extras["optional-dependencies"].keys()
        if word.startswith("requirements/"):
            assert (ROOT / word).is_file()


def test_job_scripts_are_valid_shell_and_their_commands_are_valid(monkeypatch):
    scripts = [script for page in PAGES for script in fenced(page, "bash")]
    assert scripts
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        for line in re.findall(r"^srun \.venv/bin/svilm (.*)", script.replace("\\\n", " "), re.MULTILINE):
            check_svilm(line.replace('"', "").split(), monkeypatch)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--config=pretrain/demo", "--workdir=x", "--config.train.stepz=1"], "no such key"),
        (["train", "--config=pretrain/nothing", "--workdir=x"], "no such file or packaged config"),
        (["embed", "videos", "--model", "x", "--out", "y", "--windows", "2", "--x"], "unknown arguments"),
    ],
)
def test_the_check_of_commands_finds_mistakes(words, message, monkeypatch):
    with pytest.raises(Exception, match=message):
        check_svilm(words, monkeypatch)


@functools.cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_resolve(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "", text)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_examples_compile(page):
    for example in fenced(page, "python"):
        compile(example, str(page), "exec")


def test_the_examples_of_extensions_run(monkeypatch):
    from svilm_data.annotations import registry as datasets

    from svilm_jax.evaluation import registry as evaluators
    from svilm_jax.objectives import registry as objectives

    for module, name in ((objectives, "OBJECTIVES"), (evaluators, "EVALUATORS")):
        monkeypatch.setattr(module, name, dict(getattr(module, name)))
    monkeypatch.setattr(datasets, "_ADDED", {})
    for example in fenced(ROOT / "docs" / "extending.md", "python"):
        exec(example, {"__name__": "example"})
    assert "smoothness" in objectives.OBJECTIVES
    assert "spread" in evaluators.EVALUATORS
    assert "birds" in [dataset.name for dataset in datasets.published_datasets()]


def test_source_files_cite_sections_of_the_method_that_exist():
    method = (ROOT / "docs" / "method.md").read_text()
    sections = set(re.findall(r"^#+ ([\d.]+?)\.? ", method, re.MULTILINE))
    assert {"1", "1.1", "1.7", "2", "3"} <= sections
    for folder in ("svilm_jax", "configs", "tests"):
        for file in (ROOT / folder).rglob("*.py"):
            for cited in re.findall(r"(?:METHOD|docs/method\.md,) (\d+(?:\.\d+)?)", file.read_text()):
                assert cited in sections, f"{file} cites section {cited}"


def test_the_glossary_has_each_term_once():
    terms = re.findall(r"^(\S.*)\n: ", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    assert len(terms) == len(set(terms)) == 20
    assert terms == sorted(terms)
