"""How do the raw files of moving shapes become records? Reads the annotation files that the generator wrote."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from svilm_jax.input import schema

from ..preparation import Item, Settings
from ..preparation import prepare as prepare_dataset
from .generator import generate


def read_items(raw: Path, split: str) -> list[Item]:
    """The items of one split."""
    document = json.loads((raw / "annotations" / f"{split}.json").read_text())
    items = []
    for video in document["videos"]:
        masks = raw / "masks" / split / f"{video['video_id']}.npz"
        record = schema.Record(
            id=video["video_id"],
            video=b"",
            group=video["group"],
            captions=tuple(
                schema.Caption(s["caption"], start=s.get("start", -1.0), end=s.get("end", -1.0))
                for s in video["sentences"]
            ),
            actions=tuple(
                schema.Action(a["label"], a.get("start", -1.0), a.get("end", -1.0)) for a in video["actions"]
            ),
            questions=tuple(schema.Question(q["question"], q["answer"], q["type"]) for q in video["questions"]),
            cuts=tuple(video["cuts"]),
            objects=tuple(schema.SceneObject(o["phrase"], o["mask_id"]) for o in video["objects"]),
        )
        items.append(Item(record, raw / "videos" / video["file"], masks if masks.is_file() else None))
    return items


def prepare(
    out: Path,
    *,
    seed: int = 0,
    sizes: Mapping[str, int] | None = None,
    workers: int = 2,
    keep_raw: bool = False,
    settings: Settings | None = None,
) -> Path:
    """Generates and prepares the dataset `out`/moving_shapes; `sizes` as in `generate`."""
    settings = settings or Settings(workers=workers)
    folder, raw = out / "moving_shapes", out / "moving_shapes_raw"
    if (folder / schema.SCHEMA_VERSION / "preparation.json").is_file() and not settings.overwrite:
        print(f"{folder}: already prepared; --overwrite prepares it again")
        return folder
    shutil.rmtree(raw, ignore_errors=True)
    generate(raw, seed, sizes, settings.workers)
    splits = [path.stem for path in sorted((raw / "annotations").glob("*.json"))]
    prepare_dataset(folder, {split: read_items(raw, split) for split in splits}, settings, notes={"seed": seed})
    if not keep_raw:
        shutil.rmtree(raw)
    return folder
