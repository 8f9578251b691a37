"""Reading of a trained model from a checkpoint, for inference."""

from pathlib import Path

from svilm_jax.checkpoints.errors import CheckpointError, reading_errors
from svilm_jax.checkpoints.manager import Checkpoints
from svilm_jax.checkpoints.metadata import read_selection, saved_tokenizer
from svilm_jax.checkpoints.saved_arrays import read_params
from svilm_jax.config import resolve
from svilm_jax.inference import TrainedModel
from svilm_jax.models.parameters import abstract_model, bind


def read_checkpoint(path: str | Path) -> TrainedModel:
    """Loads a model from a workdir (its newest checkpoint) or from one checkpoint's folder.

    Averaged parameters are preferred if the run kept them.

    Raises:
      CheckpointError: no readable checkpoint there.
    """
    path = Path(path).resolve()
    if path.name.isdigit() and (path / "meta").is_dir():
        workdir, step = path.parent.parent, int(path.name)
    else:
        workdir, step = path, -1
    if not (workdir / "checkpoints").is_dir():
        raise CheckpointError(
            f"{path}: no checkpoint here; expected a --workdir of `svilm train`, or WORKDIR/checkpoints/STEP"
        )
    checkpoints = Checkpoints(workdir, keep=None)
    try:
        found = checkpoints.latest() if step < 0 else step
        if found is None:
            raise CheckpointError(f"{workdir}/checkpoints: holds no complete checkpoint; train for longer")
        with reading_errors(workdir / "checkpoints" / str(found)):
            meta = checkpoints.meta(found)
    finally:
        checkpoints.close()
    config = resolve(meta["config"])
    tokenizer = saved_tokenizer(meta)
    graphdef, abstract = abstract_model(config, meta["vocab_size"])
    folder = workdir / "checkpoints" / str(found)
    with reading_errors(folder):
        params = read_params(folder, meta.get("checksums", {}))
    return TrainedModel(bind(graphdef, abstract, params), config, tokenizer, found, read_selection(folder))
