"""MSVD annotations: the clips of the common lists with their English captions.

Captions come in one of three formats, of which the first present is read (`captions`). train_list.txt, val_list.txt and
test_list.txt name one clip per line. val_list.txt is often missing: the validation split then consists of the clips
with captions that are in neither of the other two; with youtube_mapping.txt present, only of those among its 1,970
clips, since the corpus has more.
"""

import argparse
from collections.abc import Mapping

from svilm_data.annotations.grouping import group_adjacent
from svilm_data.annotations.issues import format_names
from svilm_data.annotations.official_files import OfficialFiles
from svilm_data.annotations.published_dataset import Annotations, DatasetSpec, VideoAnnotation, count_checks
from svilm_data.datasets.msvd.captions import JSON, read_captions
from svilm_data.datasets.msvd.names import MAPPING, clip_name, read_mapping, source_video
from svilm_data.pipeline.errors import PreparationError

from svilm_jax.input.schema import Record

LISTS = {"train": "train_list.txt", "validation": "val_list.txt", "test": "test_list.txt"}
# The split is Venugopalan et al.'s (2015).
PUBLISHED = {"videos": 1_970, "train videos": 1_200, "validation videos": 100, "test videos": 670}
# Counted in captions_msvd.json, from which results are published; the corpus itself has other numbers of sentences.
PUBLISHED_CAPTIONS = {
    "captions": 80_827,
    "train captions": 48_774,
    "validation captions": 4_290,
    "test captions": 27_763,
}


def read(files: OfficialFiles, args: argparse.Namespace) -> Annotations:
    """Reads all annotation files; raises PreparationError for invalid content."""
    mapping = read_mapping(files)
    form, captions, captioned, notes = read_captions(files)
    split_of: dict[str, str] = {}
    clips: dict[str, list[str]] = {}
    for split in LISTS:
        clips[split] = _list(files, split, split_of, notes)
    if files.find_optional(LISTS["validation"]) is None:
        clips["validation"] = [
            clip for clip in captioned if clip not in split_of and (not mapping.number or clip in mapping.number)
        ]
        split_of |= dict.fromkeys(clips["validation"], "validation")
        notes["validation"] = f"not found: {LISTS['validation']}: the clips in no other list are used"
    known = set(captioned)
    if unknown := [clip for clip in split_of if clip not in known]:
        notes["clips without a caption"] = f"{len(unknown):,} listed clips ({format_names(unknown)}) left out"
    if unlisted := [clip for clip in captioned if clip not in split_of]:
        notes["clips in no list"] = f"{len(unlisted):,} with captions ({format_names(unlisted)}) left out"
    if not mapping.number:
        notes["names"] = f"not found: {MAPPING}: videos named vidN are not recognized"
    splits = {
        split: group_adjacent(
            VideoAnnotation(
                Record(id=clip, video=b"", captions=captions.captions(clip), group=source_video(clip)),
                (clip, mapping.number[clip]) if clip in mapping.number else (clip,),
            )
            for clip in names
            if clip in known
        )
        for split, names in clips.items()
    }
    counts = {"videos": sum(map(len, splits.values()))}
    counts |= {f"{split} videos": len(videos) for split, videos in splits.items()}
    counts["captions"] = captions.count(clip for clip in split_of if clip in known)
    counts |= {f"{split} captions": captions.count(clip for clip in clips[split]) for split in splits}
    published = PUBLISHED | (PUBLISHED_CAPTIONS if form == JSON else {})
    kept = [clip for clip in split_of if clip in known]
    return Annotations(
        splits=splits,
        counts=count_checks(counts, published),
        notes=captions.notes(kept) | notes | _shared_sources(splits),
    )


def _list(files: OfficialFiles, split: str, split_of: dict[str, str], notes: dict[str, str]) -> list[str]:
    """Reads the clips of a list in its order; [] if it does not exist."""
    file = files.find_optional(LISTS[split])
    if file is None:
        if split != "validation":
            raise PreparationError(f"--annotations {files.root}: no list of the {split} clips: expected {LISTS[split]}")
        return []
    clips = []
    for where, line in file.lines():
        if not line.strip():
            continue
        clip = clip_name(line, where)
        if clip in split_of:
            raise PreparationError(f"{where}: {clip} is also in the {split_of[clip]} list; expected it once")
        split_of[clip] = split
        clips.append(clip)
    if not clips:
        notes[f"{split} list"] = f"{file.name} is empty"
    return clips


def _shared_sources(splits: Mapping[str, list[VideoAnnotation]]) -> dict[str, str]:
    """Returns a note on source videos with clips in several splits: their appearance is known from training."""
    splits_of: dict[str, set[str]] = {}
    for split, videos in splits.items():
        for item in videos:
            splits_of.setdefault(item.record.group, set()).add(split)
    shared = [source for source, of in splits_of.items() if len(of) > 1]
    return (
        {"source videos in several splits": f"{len(shared)} ({format_names(shared)}), as published"} if shared else {}
    )


DATASET = DatasetSpec(
    name="msvd",
    help="MSVD: 1,970 short clips with about 40 English captions each",
    files="captions_msvd.json (or AllVideoDescriptions.txt or video_corpus.csv), train_list.txt, val_list.txt (may be "
    f"missing), test_list.txt and {MAPPING} (for videos named vidN)",
    read=read,
)
