"""Loading of a trained model from a workdir, a checkpoint or an exported model directory."""

from pathlib import Path

from svilm_jax.checkpoints.model_directory import is_model_directory, read_model_directory
from svilm_jax.config.local_paths import require_local
from svilm_jax.inference.model import TrainedModel


def load(path: str | Path) -> TrainedModel:
    """Loads a trained model for inference.

    Args:
      path: a directory of `svilm export` or `svilm import`, which is read without Grain and Orbax; a --workdir of
        `svilm train` (its latest checkpoint), WORKDIR/checkpoints/STEP, or WORKDIR/checkpoints/best.

    Raises:
      ModelDirectoryError, CheckpointError: the path holds no readable model.
      ConfigError: a path with a `scheme://`.
    """
    require_local(path, "model")
    if is_model_directory(path):
        return read_model_directory(path)
    from svilm_jax.checkpoints.reading import read_checkpoint  # imports Orbax, which an export does not need

    return read_checkpoint(path)
