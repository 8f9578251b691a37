"""Preparation of a folder of captioned videos from an annotation file and the files that it names."""

import hashlib
import math
import shlex
from pathlib import Path

from svilm_data.datasets.captioned_videos.catalog import catalog
from svilm_data.datasets.captioned_videos.rows import read_rows
from svilm_data.pipeline.beam import Beam
from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.preparation import Plan, building, finished
from svilm_data.pipeline.preparation import prepare as prepare_entries
from svilm_data.pipeline.transcoding import EncodingOptions

from svilm_jax.filesystem.unicode_repair import Repairs

NAME = "captioned_videos"


def prepare(
    videos: str | Path,
    captions: str | Path,
    out_dir: str | Path,
    *,
    name: str = NAME,
    validation_fraction: float = 0.0,
    short_side: int = 0,
    fps: float = 0.0,
    max_skipped_fraction: float = 0.5,
    workers: int = 1,
    overwrite: bool = False,
    vocab: Path | None = None,
    vocab_size: int = 8000,
    phrases: Path | None = None,
    beam: Beam | None = None,
) -> Path:
    """Prepares out_dir/name from a folder of videos.

    Args:
      videos: folder, searched recursively.
      captions: JSON, JSON lines, CSV or TSV; see docs/data/captioned_videos.md for the formats.
      out_dir: receives the dataset.
      name: of the dataset, lower-case letters, digits and underscores.
      validation_fraction: fraction of videos without a given split that go to validation, chosen by a hash of their id.
      short_side: pixels to scale the shorter side down to, even; 0: no scaling. Re-encodes.
      fps: maximum frames per second; 0: as the file. Re-encodes.
      max_skipped_fraction: fraction of the videos that may be missing or unreadable.
      workers: number of processes; the result does not depend on it.
      overwrite: replaces a dataset of this name.
      vocab: a vocab.txt to use instead of one trained on the training captions.
      vocab_size: maximum size of the trained one.
      phrases: a JSON file with the noun phrases of the captions, instead of spaCy.
      beam: runner to use instead of these processes.

    Returns:
      out_dir/name, for `config.input.dataset`.

    Raises:
      PreparationError: an invalid option or annotation file, or too many unusable videos.
    """
    videos, captions, out = Path(videos), Path(captions), Path(out_dir)
    for option, value in (
        ("--validation-fraction", validation_fraction),
        ("--max-skipped-fraction", max_skipped_fraction),
    ):
        if not 0 <= value <= 1:
            raise PreparationError(f"{option} {value:g}: expected a share from 0 to 1")
    if short_side < 0 or short_side % 2 or 0 < short_side < 16:
        raise PreparationError(f"--short-side {short_side}: expected an even number of pixels, at least 16, or 0")
    if not (math.isfinite(fps) and fps >= 0):
        raise PreparationError(f"--fps {fps:g}: expected frames a second, or 0 to keep those of the file")
    if vocab is not None and vocab_size != 8000:
        raise PreparationError("--vocab and --vocab-size: give one of them")
    repairs = Repairs()
    rows = read_rows(captions, repairs)
    options = {
        "captions": f"sha256:{_digest(captions)}",
        "validation_fraction": validation_fraction,
        "vocab_size": vocab_size,
    }
    command = [f"svilm prepare {NAME} --videos VIDEOS --captions {shlex.quote(captions.name)} --out OUT"]
    command += [f"--name {name}"] if name != NAME else []
    command += [f"--validation-fraction {validation_fraction:g}"] if validation_fraction else []
    command += [f"--short-side {short_side}"] if short_side else []
    command += [f"--fps {fps:g}"] if fps else []
    plan = Plan(
        name=name,
        out=out,
        options=options,
        command=" ".join(command),
        workers=workers,
        beam=beam,
        overwrite=overwrite,
        max_skipped_fraction=max_skipped_fraction,
        vocab=vocab,
        vocab_size=vocab_size,
        phrases=phrases,
        encoding=EncodingOptions(short_side, fps),
        description=f"Captioned videos, as {captions.name} lists them.",
    )
    if finished(plan):
        return plan.folder
    with building(out, f"{name}_catalog") as folder, catalog(videos, folder / "catalog.sqlite") as listed:
        listed.add(rows, validation_fraction)
        splits = listed.splits()
        notes = listed.notes()
        if repairs.count:
            notes["text with half a character"] = repairs.note()
        if not splits:
            found = "; ".join(f"{what}: {note}" for what, note in notes.items())
            raise PreparationError(f"{captions}: no video has a caption that is not empty" + (found and f" ({found})"))
        return prepare_entries(plan, splits, notes)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
