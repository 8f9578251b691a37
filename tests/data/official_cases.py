"""Helpers to write a dataset's annotation files, read them, and prepare real clips with the command."""

import argparse
import json
from pathlib import Path
from typing import Any

from svilm_data.annotations.official_files import OfficialFiles
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec

from svilm_jax.cli import prepare as command


def read(dataset: DatasetSpec, folder: Path) -> Annotations:
    """What a dataset reads from the files of a folder."""
    return dataset.read(OfficialFiles(folder), argparse.Namespace())


def write(folder: Path, name: str, content: Any) -> Path:
    """A file: text as it is, anything else as JSON, or as JSON lines where its name says so."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    else:
        path.write_text(json.dumps(content), encoding="utf-8")
    return path


def link(folder: Path, *files: Path) -> Path:
    """A folder with links to files that lie elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file.name).symlink_to(file)
    return folder


def counts(annotated: Annotations) -> dict[str, int]:
    """The facts without what was published."""
    return {what: fact.count for what, fact in annotated.counts.items()}


def timed_captions(annotated: Annotations) -> dict[str, list[tuple[str, float, float]]]:
    """Video -> text, start and end of its captions, over all splits."""
    return {
        wanted.record.id: [(caption.text, caption.start, caption.end) for caption in wanted.record.captions]
        for videos in annotated.splits.values()
        for wanted in videos
    }


def wrong(annotated: Annotations) -> dict[str, tuple[int, int | None]]:
    """The facts that differ from what was published."""
    return {
        what: (fact.count, fact.published)
        for what, fact in annotated.counts.items()
        if fact.published not in (None, fact.count)
    }


def prepare(name: str, annotations: Path, videos: Path, out: Path, *more: str) -> Path:
    """The folder that `svilm prepare NAME` writes."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    where = ["--annotations", str(annotations), "--videos", str(videos), "--out", str(out)]
    command.run(parser.parse_args([name, *where, "--workers", "1", *more]))
    return out / name
