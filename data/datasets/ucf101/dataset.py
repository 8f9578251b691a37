"""Action labels and official train/test splits of UCF101.

`classInd.txt` numbers the classes; `trainlist0K.txt` contains `Class/v_Class_gGG_cCC.avi NUMBER` and `testlist0K.txt`
the same without the number. The three splits divide the same clips, so the clips are stored once, with one view per
list.
"""

import argparse
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec, VideoAnnotation, count_checks
from svilm_data.annotations.split_files import split_files
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Action, Record

SPLITS = (1, 2, 3)
LISTS = {f"{part}{k}": (f"{part}list0{k}.txt",) for k in SPLITS for part in ("train", "test")}
PUBLISHED = {
    "classes": 101,
    "train1": 9537,
    "test1": 3783,
    "train2": 9586,
    "test2": 3734,
    "train3": 9624,
    "test3": 3696,
}
PUBLISHED_CLIPS = 13_320


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads the lists that exist.

    Raises:
      PreparationError: no class list, no list of clips, or an invalid line.
    """
    classes = read_classes(files.find_one("classInd.txt", description="list of classes"))
    found, notes = split_files(files, LISTS, "list of clips")
    official = {label.lower(): label for label in classes.values()}
    clips: dict[str, VideoAnnotation] = {}
    lists: dict[str, dict[str, None]] = {}
    for name, file in found.items():
        lists[name] = {}
        for where, line in file.lines():
            if line.strip():
                path, label = _clip(line, where, classes, official)
                clip = _add(clips, path, label, where)
                if clip in lists[name]:
                    raise PreparationError(f"{where}: {path!r} occurs twice in this list")
                lists[name][clip] = None
    _check_disjoint(lists, found)
    spelled = sum(f"v_{video.record.actions[0].label}_" not in video.names[0] for video in clips.values())
    if spelled:
        notes["clips whose file name spells the class differently from classInd.txt"] = (
            f"{spelled}; labeled as in classInd.txt"
        )
    counts = {"classes": len(classes), "clips": len(clips)} | {name: len(members) for name, members in lists.items()}
    published = PUBLISHED | ({"clips": PUBLISHED_CLIPS} if len(found) == len(LISTS) else {})
    return Annotations(
        splits={"videos": list(clips.values())},
        counts=count_checks(counts, published),
        labels=tuple(classes.values()),
        views={name: dict.fromkeys(members) for name, members in lists.items()},
        notes=notes,
    )


def read_classes(file: OfficialFile) -> dict[int, str]:
    """Reads number -> class, in file order.

    Raises:
      PreparationError: a line that is not `NUMBER CLASS`, or a duplicate number or class.
    """
    classes: dict[int, str] = {}
    for where, line in file.lines():
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not words[0].isdecimal():
            raise PreparationError(f"{where}: expected 'NUMBER CLASS', got {line!r}")
        if int(words[0]) in classes or words[1] in classes.values():
            raise PreparationError(f"{where}: {line!r}: number or class occurs twice in this list")
        classes[int(words[0])] = words[1]
    return classes


def _clip(line: str, where: str, classes: Mapping[int, str], official: Mapping[str, str]) -> tuple[str, str]:
    """Parses (path, class) of a line."""
    path, _, number = line.strip().partition(" ")
    parts = PurePosixPath(path).parts
    if len(parts) != 2:
        raise PreparationError(f"{where}: expected 'CLASS/CLIP.avi' and, for training, a number; got {line!r}")
    # The capitalization of class names differs between publications of the lists ("HandStandPushups").
    label = official.get(parts[0].lower())
    if label is None:
        raise PreparationError(f"{where}: class {parts[0]!r} is not in classInd.txt")
    if number.strip() and (not number.strip().isdecimal() or classes.get(int(number)) != label):
        expected = next(n for n, name in classes.items() if name == label)
        raise PreparationError(f"{where}: class number {number.strip()!r}: classInd.txt has {expected} for {label}")
    return path, label


def _add(clips: dict[str, VideoAnnotation], path: str, label: str, where: str) -> str:
    """Registers a clip; returns its id."""
    stem = PurePosixPath(path).stem
    if known := clips.get(stem):
        if known.record.actions[0].label != label:
            raise PreparationError(
                f"{where}: {path!r} occurs before as {known.names[0]!r}; expected one class per clip"
            )
        return stem
    # Clips with the same number after "_g" are from the same longer video.
    group = re.fullmatch(r"(.+_g\d+)_c\d+", stem)
    record = Record(id=stem, video=b"", group=group[1] if group else "", actions=(Action(label),))
    clips[stem] = VideoAnnotation(record, (path, str(PurePosixPath(path).with_suffix("")), stem))
    return stem


def _check_disjoint(lists: Mapping[str, Mapping[str, None]], found: Mapping[str, OfficialFile]) -> None:
    for k in SPLITS:
        both = lists.get(f"train{k}", {}).keys() & lists.get(f"test{k}", {}).keys()
        if both:
            raise PreparationError(f"{found[f'test{k}'].where}: {min(both)!r} is in trainlist0{k}.txt as well")


DATASET = DatasetSpec(
    name="ucf101",
    help="UCF101: clips of 101 actions; split `videos`, views train1, test1, ..., train3, test3",
    files="classInd.txt, trainlist01.txt to trainlist03.txt, testlist01.txt to testlist03.txt",
    read=read,
)
