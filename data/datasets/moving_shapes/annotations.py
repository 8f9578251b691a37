"""Reader of the moving-shapes annotation files: raw folder to entries, as for a downloaded dataset."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from svilm_data.annotations.entries import Entry
from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.video_folder import path_inside

from svilm_jax.filesystem.json_reader import read_document
from svilm_jax.input.schema import Action, Caption, Question, Record, SceneObject


def read_annotations(raw: Path) -> dict[str, list[Entry]]:
    """Reads the entries of every split below `raw`, in file order.

    Raises:
      PreparationError: an invalid annotation file; names the file, the video and the field.
    """
    files = sorted((raw / "annotations").glob("*.json"))
    if not files:
        raise PreparationError(f"{raw / 'annotations'}: no annotation file (*.json)")
    return {path.stem: _read_split(raw, path) for path in sorted(files, key=lambda p: p.stem != "train")}


def _read_split(raw: Path, path: Path) -> list[Entry]:
    try:
        videos = read_document(path)["videos"]
    except (ValueError, KeyError, TypeError) as error:
        raise PreparationError(f'{path}: expected JSON of the form {{"videos": [...]}} ({error})') from error
    entries = []
    for number, video in enumerate(videos):
        where = f"{path}: video {number}"
        try:
            entries.append(_entry(raw, path.stem, video, where))
        except (KeyError, TypeError) as error:
            raise PreparationError(f"{where}: field {error} is missing or of another type") from error
    return entries


def _entry(raw: Path, split: str, video: Mapping[str, Any], where: str) -> Entry:
    record = Record(
        id=video["video_id"],
        video=b"",
        group=video["group"],
        captions=tuple(Caption(s["caption"], (), s.get("start", -1.0), s.get("end", -1.0)) for s in video["sentences"]),
        actions=tuple(Action(a["label"], a.get("start", -1.0), a.get("end", -1.0)) for a in video["actions"]),
        questions=tuple(Question(q["question"], q["answer"], q["type"]) for q in video["questions"]),
        cuts=tuple(video["cuts"]),
        objects=tuple(SceneObject(o["phrase"], o["mask_id"]) for o in video["objects"]),
    )
    masks = path_inside(raw / "masks", f"{split}/{record.id}.npz", f"{where}, field video_id")
    return Entry(
        record,
        path_inside(raw / "videos", video["file"], f"{where}, field file"),
        masks if masks.is_file() else None,
    )
