"""Action labels and official train/test splits of HMDB51.

`CLASS_test_splitK.txt`, one per class and split, contains `CLIP.avi FLAG`: 1 for training, 2 for test, 0 for clips that
this split does not use. All clips are stored once, including those that no split uses; each split is two views.
"""

import argparse
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from svilm_data.annotations.issues import format_names
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec, VideoAnnotation, count_checks
from svilm_data.annotations.split_files import MISSING
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Action, Record

SPLITS = (1, 2, 3)
USES = {"0": None, "1": "train", "2": "test"}
CLASSES, CLIPS, TRAIN, TEST = 51, 6766, 3570, 1530
# Some copies of the dataset prefix every file name with this.
PREFIX = "hmdb51_"


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads the split files that exist.

    Raises:
      PreparationError: there is none, or an invalid line.
    """
    split_lists = _split_files(files)
    labels = sorted({label for label, _ in split_lists})
    splits = sorted({k for _, k in split_lists})
    clips: dict[str, VideoAnnotation] = {}
    views: dict[str, dict[str, None]] = {f"{use}{k}": {} for k in splits for use in ("train", "test")}
    listed: dict[int, set[str]] = {k: set() for k in splits}
    for label in labels:
        for k in splits:
            if (label, k) in split_lists:
                for where, clip, use in _lines(split_lists[label, k], label, clips):
                    if clip in listed[k]:
                        raise PreparationError(f"{where}: {clip!r} occurs twice in split {k}")
                    listed[k].add(clip)
                    if use:
                        views[f"{use}{k}"][clip] = None
    published = {"classes": CLASSES, "clips": CLIPS}
    published |= {view: TRAIN if view.startswith("train") else TEST for view in views}
    counts = {"classes": len(labels), "clips": len(clips)} | {view: len(members) for view, members in views.items()}
    return Annotations(
        splits={"videos": list(clips.values())},
        counts=count_checks(counts, published),
        labels=tuple(labels),
        views=views,
        notes=_notes(split_lists, labels, clips, views, listed),
    )


def _split_files(files: OfficialFiles) -> dict[tuple[str, int], OfficialFile]:
    found = {}
    for file in files.find("*_test_split[123].txt"):
        name = re.fullmatch(r"(.+)_test_split([123])\.txt", file.name)
        if name:
            found[name[1], int(name[2])] = file
    if not found:
        raise PreparationError(
            f"--annotations {files.root}: no split file: expected CLASS_test_split1.txt to CLASS_test_split3.txt of "
            "each class, in a folder or an archive"
        )
    return found


def _lines(file: OfficialFile, label: str, clips: dict[str, VideoAnnotation]) -> list[tuple[str, str, str | None]]:
    """Returns (where, clip, "train", "test" or None) of every line, and registers the clips."""
    lines = []
    for where, line in file.lines():
        if not line.strip():
            continue
        name, _, flag = line.strip().rpartition(" ")
        name = name.strip()
        if not name or flag not in USES or len(PurePosixPath(name).parts) != 1:
            raise PreparationError(f"{where}: expected 'CLIP.avi FLAG' with flag 0, 1 or 2, got {line!r}")
        known = clips.setdefault(PurePosixPath(name).stem, _annotation(name, label))
        if known.record.actions[0].label != label:
            raise PreparationError(
                f"{where}: {name!r} is also of class {known.record.actions[0].label!r}; expected one"
            )
        lines.append((where, known.record.id, USES[flag]))
    return lines


def _annotation(name: str, label: str) -> VideoAnnotation:
    stem = PurePosixPath(name).stem
    # SOURCE_CLASS_body_camera_people_direction_quality_NUMBER: clips with the same source are from the same film.
    source = re.fullmatch(rf"(.+_{re.escape(label)})_[a-z]+_[a-z]+_np\d+_[a-z]+_[a-z]+_\d+", stem)
    record = Record(id=stem, video=b"", group=source[1] if source else "", actions=(Action(label),))
    return VideoAnnotation(record, (f"{label}/{name}", f"{label}/{stem}", name, stem, PREFIX + name, PREFIX + stem))


def _notes(
    split_lists: Mapping[tuple[str, int], OfficialFile],
    labels: list[str],
    clips: Mapping[str, VideoAnnotation],
    views: Mapping[str, Mapping[str, None]],
    listed: Mapping[int, set[str]],
) -> dict[str, str]:
    notes = {}
    missing = [f"*_test_split{k}.txt" for k in SPLITS if k not in listed]
    missing += [f"{label}_test_split{k}.txt" for label in labels for k in listed if (label, k) not in split_lists]
    if missing:
        notes[MISSING] = format_names(missing, 5)
    if part := [f"{len(clips) - len(names):,} of split {k}" for k, names in listed.items() if len(names) < len(clips)]:
        notes["clips listed only by other splits"] = ", ".join(part)
    unused = len(clips.keys() - {clip for members in views.values() for clip in members})
    if unused:
        notes["clips that no split uses"] = f"{unused:,}; stored, in no view"
    return notes


DATASET = DatasetSpec(
    name="hmdb51",
    help="HMDB51: clips of 51 actions; split `videos`, views train1, test1, ..., train3, test3",
    files="CLASS_test_split1.txt to CLASS_test_split3.txt of each class (or test_train_splits.rar, unpacked)",
    read=read,
)
