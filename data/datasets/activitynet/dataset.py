"""ActivityNet annotations: splits, action segments and expected counts of the requested release.

Official segments are stored unchanged, including those of zero length and those that end after the video: the official
evaluator computes with them, so that corrected segments would change the numbers.
"""

import argparse
import collections

from svilm_data.annotations.issues import IssueCounter
from svilm_data.annotations.official_files import OfficialFiles
from svilm_data.annotations.published_dataset import Annotations, CountCheck, DatasetSpec, VideoAnnotation, count_checks
from svilm_data.datasets.activitynet.file_formats import (
    SUBSETS,
    FileFormat,
    read_bsn,
    read_official,
    read_tsp,
    video_annotation,
)
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Action

RELEASES = {"1.3": "activity_net.v1-3*.json", "1.2": "activity_net.v1-2*.json"}
PUBLISHED = {
    "1.3": {
        "train videos": 10_024,
        "validation videos": 4926,
        "test videos": 5044,
        "train segments": 15_410,
        "validation segments": 7654,
        "classes": 200,
    },
    "1.2": {"train videos": 4819, "validation videos": 2383, "test videos": 2480, "classes": 100},
}
# Videos still available to BSN's authors when they created their files.
PUBLISHED_BSN = {
    "train videos": 9649,
    "validation videos": 4728,
    "test videos": 4851,
    "train segments": 14_859,
    "validation segments": 7293,
    "classes": 200,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the option for the release."""
    parser.add_argument(
        "--release", default="1.3", choices=tuple(RELEASES), help="of ActivityNet (default: 1.3, 200 classes)"
    )


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads the first format present: the official JSON, the TSP tables, the BSN files.

    Raises:
      PreparationError: no file of the release, or invalid content.
    """
    issues = IssueCounter()
    form = _form(files, args.release, issues)
    splits: dict[str, list[VideoAnnotation]] = {split: [] for split in SUBSETS.values()}
    for video in form.videos.values():
        actions = tuple(Action(label, start, end) for label, start, end in video.segments)
        if not actions:
            done = "kept, without action"
            issues.add(f"{video.split}: videos without a segment", done + " (unpublished)" * (video.split == "test"))
        if len({action.label for action in actions}) > 1:
            issues.add(f"{video.split}: videos with segments of several classes", "kept")
        splits[video.split].append(video_annotation(video.id, actions))
    labels = form.labels or tuple(sorted({label for video in form.videos.values() for label, _, _ in video.segments}))
    counts, notes = _counts(form, args.release, len(labels))
    return Annotations(splits=splits, counts=counts, labels=labels, notes=notes | form.notes | issues.notes())


def _form(files: OfficialFiles, release: str, issues: IssueCounter) -> FileFormat:
    official = files.find_optional(RELEASES[release])
    if official is not None:
        return read_official(official, release, issues)
    form = (read_tsp(files, issues) or read_bsn(files, issues)) if release == "1.3" else None
    if form is None:
        others = [other for other, pattern in RELEASES.items() if other != release and files.find(pattern)]
        hint = "".join(f"; release {other} exists: give --release {other}" for other in others)
        raise PreparationError(
            f"--annotations {files.root}: no annotations of ActivityNet {release}: expected {RELEASES[release]}"
            + (", the TSP tables or the BSN files" if release == "1.3" else "")
            + f", plain, .gz or in an archive{hint}"
        )
    return form


def _counts(form: FileFormat, release: str, classes: int) -> tuple[dict[str, CountCheck], dict[str, str]]:
    """Returns counts with the published ones for this format, and notes on what it omits."""
    videos = collections.Counter(video.split for video in form.videos.values())
    segments = collections.Counter(video.split for video in form.videos.values() for _ in video.segments)
    counts = {f"{split} videos": videos[split] for split in SUBSETS.values()}
    counts |= {f"{split} segments": segments[split] for split in ("train", "validation")} | {"classes": classes}
    published = PUBLISHED[release]
    notes = {"form": form.name}
    if not form.whole:
        missing = ", ".join(
            f"{published[f'{split} videos'] - videos[split]:,} of {published[f'{split} videos']:,} {split}"
            for split in SUBSETS.values()
        )
        notes["videos of the release that are missing from this form"] = missing
        # The set of videos still available differs between publishers; BSN's files are fixed.
        published = PUBLISHED_BSN if form.name == "BSN files" else {"classes": published["classes"]}
    if form.name == "TSP tables":
        counts = {name: count for name, count in counts.items() if count}  # missing tables are reported in a note
    return count_checks(counts, published), notes


DATASET = DatasetSpec(
    name="activitynet",
    help="ActivityNet-1.3 and 1.2: untrimmed videos with labeled segments; splits train, validation, test",
    files="activity_net.v1-3.min.json (or the TSP tables, or the BSN files)",
    read=read,
    add_arguments=add_arguments,
    options=("release",),
)
