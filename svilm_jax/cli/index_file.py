"""Index file of a command line, opened together with the model that made it."""

import sys
from pathlib import Path

from svilm_jax.checkpoints import load
from svilm_jax.inference.index import ClipIndex
from svilm_jax.inference.model import TrainedModel


def open_index(file: Path, model: Path | None) -> tuple[ClipIndex, TrainedModel, Path]:
    """Opens an index and the model that made it, with the model's path; warns on stderr about untrained models.

    Args:
      file: written by `svilm embed`.
      model: its path; None: the path recorded in the file.

    Raises:
      IndexFileError: the file cannot be used, or is of another model.
    """
    index = ClipIndex.read(file)
    path = model or index.model_path()
    trained = load(path)
    index.check_model(trained, path)
    if trained.warning:
        print(f"{path}: {trained.warning}", file=sys.stderr)
    return index, trained, path
