"""Preparation of moving shapes: rendered into a raw folder, then read back like a downloaded dataset."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from svilm_data.datasets.moving_shapes.annotations import read_annotations
from svilm_data.datasets.moving_shapes.generator import SPLITS, generate
from svilm_data.pipeline.beam import BeamOptions
from svilm_data.pipeline.preparation import Plan, build_directory, is_prepared
from svilm_data.pipeline.preparation import prepare as prepare_entries

NAME = "moving_shapes"
VOCAB_SIZE = 1000


def prepare(
    out_dir: str | Path,
    *,
    seed: int = 0,
    sizes: Mapping[str, int] | None = None,
    workers: int = 1,
    overwrite: bool = False,
    vocab: Path | None = None,
    phrases: Path | None = None,
    beam: BeamOptions | None = None,
) -> Path:
    """Renders, encodes and prepares moving shapes.

    Args:
      out_dir: receives `moving_shapes_raw/` and `moving_shapes/`.
      seed: determines all content.
      sizes: number of clips per split, instead of the defaults; a split left out is not rendered.
      workers: number of processes; the result does not depend on it.
      overwrite: replaces an existing dataset.
      vocab: a vocab.txt to use instead of one trained on the captions.
      phrases: a JSON file with the noun phrases of the captions, instead of spaCy.
      beam: runner for the preparation; rendering is local.

    Returns:
      out_dir/moving_shapes, for `config.input.dataset`.

    Raises:
      PreparationError: see `svilm_data.pipeline.preparation.prepare`.
    """
    sizes = dict(sizes) if sizes is not None else {name: split.clips for name, split in SPLITS.items()}
    options = {"seed": seed, "sizes": sizes}
    out = Path(out_dir)
    plan = Plan(
        name=NAME,
        out=out,
        options=options,
        command=f"svilm prepare {NAME} --out OUT --seed {seed}",
        workers=workers,
        overwrite=overwrite,
        vocab=vocab,
        phrases=phrases,
        beam=beam,
        vocab_size=VOCAB_SIZE,
        description="Rendered clips of moving shapes with captions, masks, cuts, actions and questions.",
    )
    if is_prepared(plan):
        return plan.folder
    raw = out / f"{NAME}_raw"
    with build_directory(out, raw.name) as folder:
        generate(folder / "raw", seed, sizes, workers)
        shutil.rmtree(raw, ignore_errors=True)
        (folder / "raw").rename(raw)
    return prepare_entries(plan, read_annotations(raw))
