"""S-ViLM: structured video-language pre-training with spatial grounding and temporal grouping.

model = svilm_jax.load("runs/demo")
model.embed_video(["a.mp4", "b.mp4"]) @ model.embed_text("a red square").T
model.ground("a.mp4", "a red square").heat
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from svilm_jax.inference import TrainedModel

__all__ = ["load"]


def load(path: str | Path) -> "TrainedModel":
    """A trained model, to be asked.

    Args:
      path: a folder of `svilm export` or `svilm import`, which is read without what training needs (Grain, Orbax); or a
        --workdir of `svilm train` (its newest checkpoint), or WORKDIR/checkpoints/STEP.

    Raises:
      FolderError, CheckpointError: nothing there that can be read.
      ConfigError: a path with a `scheme://`.
    """
    # Imported here: `import svilm_jax` stays quick, and a model is asked without what it was trained with.
    from svilm_jax.config.local_paths import require_local
    from svilm_jax.interop.folder import is_model_folder, read_folder

    require_local(path, "model")

    if is_model_folder(path):
        return read_folder(path)
    from svilm_jax.training.checkpoints import load as load_checkpoint

    return load_checkpoint(path)
