"""Retrieval protocols of MSR-VTT: the lists of 7k, 9k and 1k-A as views.

    MSRVTT_train.7k.csv         video_id                        train_7k: training and validation of the full split
    MSRVTT_train.9k.csv         video_id                        train_9k: all videos outside the 1k-A test set
    MSRVTT_JSFUSION_test.csv    key,vid_key,video_id,sentence   test_1ka: one given sentence for each of 1,000 videos

The 1,990 test videos of the full split that 1k-A does not use are training videos in the 9k list: a model training on
train_9k must not be tested on the full test split. Some sentences of 1k-A belong to two videos: 995 are distinct.
The lists of the full split (MSRVTT_train.full.csv, ...) are checked against the JSON files where they exist.
"""

import collections
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

from svilm_data.annotations.issues import format_names
from svilm_data.annotations.official_files import OfficialFile, OfficialFiles
from svilm_data.annotations.official_rows import csv_rows
from svilm_data.annotations.published_dataset import CountCheck, View
from svilm_data.datasets.msrvtt.names import record_id
from svilm_data.pipeline.errors import PreparationError

LISTS = {"train_7k": "MSRVTT_train.7k.csv", "train_9k": "MSRVTT_train.9k.csv"}
ONE_K_A = "MSRVTT_JSFUSION_test.csv"
FULL = {
    "train": "MSRVTT_train.full.csv",
    "validation": "MSRVTT_val.full.csv",
    "test": "MSRVTT_test.full.csv",
}
PUBLISHED = {"train_7k": 7_010, "train_9k": 9_000, "test_1ka": 1_000}
NOT_A_WORD = re.compile(r"[\W_]+")


@dataclasses.dataclass
class Protocols:
    """Content of the lists, as in `Annotations`."""

    views: dict[str, View] = dataclasses.field(default_factory=dict)
    counts: dict[str, CountCheck] = dataclasses.field(default_factory=dict)
    notes: dict[str, str] = dataclasses.field(default_factory=dict)


def read_protocols(
    files: OfficialFiles, split: Mapping[str, str], texts: Callable[[str], Sequence[str]], complete: bool
) -> Protocols:
    """Builds the views of the lists that exist.

    Args:
      files: all annotation files.
      split: record id -> split of the full split.
      texts: record id -> its captions by their numbers.
      complete: whether all annotation files were found. If not, a list that needs a missing one makes no view: a view
        must not be silently smaller than its name implies.

    Raises:
      PreparationError: a list that contradicts the annotation, itself or another list.
    """
    protocols = Protocols()
    training: dict[str, str] = {}
    for view, name in LISTS.items():
        file = files.find_optional(name)
        if file is None:
            protocols.notes[view] = f"not found: {name}: prepared without this view"
            continue
        rows = _ids(file)
        training |= rows
        _add(protocols, view, dict.fromkeys(rows), split, complete)
    file = files.find_optional(ONE_K_A, ONE_K_A.replace(".csv", ".*csv"))
    if file is None:
        protocols.notes["test_1ka"] = f"not found: {ONE_K_A}: prepared without this view"
    else:
        _read_1ka(protocols, file, training, split, texts, complete)
    _check_full(files, split)
    return protocols


def _read_1ka(
    protocols: Protocols,
    file: OfficialFile,
    training: Mapping[str, str],
    split: Mapping[str, str],
    texts: Callable[[str], Sequence[str]],
    complete: bool,
) -> None:
    members: dict[str, tuple[int, ...] | None] = {}
    sentences: collections.Counter[str] = collections.Counter()
    without_punctuation = 0
    for video, (where, sentence) in _sentences(file).items():
        if video in training:
            raise PreparationError(
                f"{where}: {video} is also in a training list ({training[video]}); expected disjoint "
                "lists: one of them belongs to another protocol"
            )
        sentences[_normalized(sentence)] += 1
        members[video] = None
        if video in split:
            number, exact = _caption_number(sentence, texts(video), where, video)
            members[video] = (number,)
            without_punctuation += not exact
    _add(protocols, "test_1ka", members, split, complete)
    if without_punctuation:
        protocols.notes["1k-A, punctuation"] = (
            f"{without_punctuation} sentences lack the punctuation of their caption, which is used as annotated"
        )
    if shared := sum(count > 1 for count in sentences.values()):
        protocols.notes["1k-A, shared sentences"] = f"{shared} belong to several videos: {len(sentences)} are distinct"


def _ids(file: OfficialFile) -> dict[str, str]:
    """Reads record id -> location."""
    ids: dict[str, str] = {}
    for where, row in csv_rows(file, ("video_id",)):
        _add_once(ids, record_id(row["video_id"], f"{where}, field 'video_id'"), where)
    return ids


def _sentences(file: OfficialFile) -> dict[str, tuple[str, str]]:
    """Reads record id -> location and sentence."""
    ids: dict[str, str] = {}
    sentences = {}
    for where, row in csv_rows(file, ("video_id", "sentence")):
        video = record_id(row["video_id"], f"{where}, field 'video_id'")
        _add_once(ids, video, where)
        if not row["sentence"].strip():
            raise PreparationError(f"{where}, field 'sentence': expected a caption of {video}, got an empty field")
        sentences[video] = (where, row["sentence"])
    return sentences


def _add_once(ids: dict[str, str], video: str, where: str) -> None:
    if video in ids:
        raise PreparationError(f"{where}, field 'video_id': {video} occurs before; expected each video once")
    ids[video] = where


def _add(protocols: Protocols, view: str, members: View, split: Mapping[str, str], complete: bool) -> None:
    unknown = [video for video in members if video not in split]
    known = {video: captions for video, captions in members.items() if video in split}
    if unknown and not complete:
        protocols.notes[view] = (
            f"left out: {len(unknown):,} of its {len(members):,} videos are in the annotation file that was not found"
        )
        return
    if unknown:
        protocols.notes[view] = (
            f"{len(unknown):,} of its videos ({format_names(unknown)}) are in no annotation file; left out"
        )
    protocols.views[view] = known
    protocols.counts[f"{view} videos"] = CountCheck(len(known), PUBLISHED[view])


def _caption_number(sentence: str, texts: Sequence[str], where: str, video: str) -> tuple[int, bool]:
    """Returns the number of the caption that a row of 1k-A quotes, and whether its punctuation is the same.

    The list was tokenized: blanks are single, and twelve sentences lack a hyphen, colon, slash or ampersand. So
    captions are compared ignoring case and whitespace, and if none matches also ignoring punctuation. The match must be
    a single sentence; if a video has the same sentence twice, the first number counts.

    Raises:
      PreparationError: no caption of the video matches, or different ones do.
    """
    for normalize in (_normalized, _words):
        matching = [number for number, text in enumerate(texts) if normalize(text) == normalize(sentence)]
        if len({_normalized(texts[number]) for number in matching}) > 1:
            raise PreparationError(
                f"{where}, field 'sentence': {sentence!r} matches captions {matching} of {video}, which differ: "
                "expected one"
            )
        if matching:
            return matching[0], normalize is _normalized
    raise PreparationError(
        f"{where}, field 'sentence': {sentence!r} matches none of the {len(texts)} captions of {video}; expected one: "
        "the list and the annotation are of different versions"
    )


def _normalized(text: str) -> str:
    return " ".join(text.lower().split())


def _words(text: str) -> str:
    return " ".join(NOT_A_WORD.sub(" ", text.lower()).split())


def _check_full(files: OfficialFiles, split: Mapping[str, str]) -> None:
    for name, listing in FULL.items():
        file = files.find_optional(listing)
        for video, where in _ids(file).items() if file is not None else ():
            if split.get(video, name) != name:
                raise PreparationError(
                    f"{where}: {video} is a {split[video]} video in the annotation; expected a {name} one in this list"
                )
