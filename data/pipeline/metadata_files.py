"""Metadata files of a prepared dataset: summary, views, labels, answers and skipped videos."""

import collections
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.journal import Journal
from svilm_data.pipeline.video_checks import CheckedSplit, format_skipped

from svilm_jax.input.schema import SUMMARY, Record

SKIPPED = "skipped.jsonl"
MAX_IN_SUMMARY = 1000  # skipped videos in the summary
MAX_PRINTED = 50  # skipped videos printed by `describe`


def describe(folder: Path) -> str:
    """Formats the summary of the prepared dataset in `folder`."""
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))

    def questions(counts: Mapping[str, int]) -> str:
        return f"{counts['questions']} questions, " if counts.get("questions") else ""

    lines = [f"{folder}: {summary['vocabulary']}"]
    lines += [
        f"  {split}: {counts['clips']} clips, {counts['captions']} captions, {questions(counts)}"
        f"{counts['seconds']:.0f} s of video"
        for split, counts in summary["splits"].items()
    ]
    for view, counts in summary.get("views", {}).items():
        missing = f", {counts['missing']} more are missing" if counts["missing"] else ""
        lines.append(f"  view {view}: {counts['clips']} clips{missing}")
    lines += [f"  {key}: {value}" for key, value in summary["notes"].items()]
    if skipped := summary["skipped"]:
        count = summary.get("unusable", len(skipped))
        lines.append(f"  skipped {count} unusable video{'s' * (count > 1)}:")
        lines += [f"    {format_skipped(item)}" for item in skipped[:MAX_PRINTED]]
        if count > MAX_PRINTED:
            lines.append(
                f"    and {count - MAX_PRINTED} more: {folder / (SKIPPED if count > MAX_IN_SUMMARY else SUMMARY)}"
            )
    return "\n".join(lines)


def write_skipped(splits: Iterable[str], journal: Journal, path: Path) -> tuple[list[dict[str, str]], int]:
    """Writes all skipped videos to `path` if they are too many for the summary.

    Returns:
      The first skipped videos, for the summary, and the number of all.
    """
    skipped = journal.skipped(splits)
    listed = list(itertools.islice(skipped, MAX_IN_SUMMARY))
    next_one = next(skipped, None)
    if next_one is None:
        return listed, len(listed)
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for item in itertools.chain(listed, [next_one], skipped):
            file.write(json.dumps(item, ensure_ascii=False) + "\n")
            count += 1
    return listed, count


def write_views(
    views: Mapping[str, Mapping[str, tuple[int, ...] | None]], checked: Mapping[str, CheckedSplit], path: Path
) -> dict[str, dict[str, int]]:
    """Writes each view as rows of [split, record number, caption numbers or null].

    Returns:
      View -> number of its clips, of their captions and questions, and of clips without a usable video.
    """
    if not views:
        return {}
    position: dict[str, tuple[str, int]] = {}
    texts: dict[str, collections.Counter[str]] = {}
    for split, state in checked.items():
        for number, (entry, _, _) in enumerate(state):
            position[entry.record.id] = (split, number)
            texts[entry.record.id] = count_texts(entry.record)
    rows = {
        view: [
            [*position[name], None if captions is None else list(captions)]
            for name, captions in members.items()
            if name in position
        ]
        for view, members in views.items()
    }
    path.write_text(json.dumps(rows) + "\n", encoding="utf-8")

    def summary(members: Mapping[str, tuple[int, ...] | None]) -> dict[str, int]:
        total = collections.Counter(clips=0, captions=0, questions=0)
        for name in members.keys() & position.keys():
            total.update(clips=1, **texts[name])
            if (captions := members[name]) is not None:
                total["captions"] += len(captions) - texts[name]["captions"]
        return {**total, "missing": len(members) - total["clips"]}

    return {view: summary(members) for view, members in views.items()}


def write_labels(labels: Sequence[str], checked: Mapping[str, CheckedSplit], path: Path) -> None:
    """Writes the action classes, if there are any; `labels`: their official order, or () to sort those that occur."""
    present = {action.label for state in checked.values() for entry, _, _ in state for action in entry.record.actions}
    if unknown := sorted(present - set(labels)) if labels else []:
        raise PreparationError(f"{path.parent.name}: labels {unknown[:5]} are not among the {len(labels)} classes")
    if classes := list(labels) or sorted(present):
        path.write_text(json.dumps(classes, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


def write_answers(checked: Mapping[str, CheckedSplit], path: Path) -> None:
    """Writes the answers of the training splits, of which a model chooses, if there are any."""
    counts = collections.Counter(
        question.answer
        for split, state in checked.items()
        if split.endswith("train")
        for entry, _, _ in state
        for question in entry.record.questions
    )
    if counts:
        rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
        path.write_text(json.dumps(rows, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


def count_texts(record: Record) -> collections.Counter[str]:
    """Returns the numbers of captions and questions of a record."""
    return collections.Counter(captions=len(record.captions), questions=len(record.questions))


def split_summary(checked: CheckedSplit, texts: Mapping[str, int]) -> dict[str, Any]:
    """Returns the counts of a split for the summary; `texts`: the sum of `count_texts` over its records."""
    return {
        "clips": len(checked),
        "captions": texts["captions"],
        "questions": texts["questions"],
        "seconds": round(float(checked.seconds.sum()), 1),
        "bytes": int(checked.bytes.sum()),
    }
