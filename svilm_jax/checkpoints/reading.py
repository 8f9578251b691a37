"""Reading of a trained model from a checkpoint, for inference."""

from pathlib import Path

from svilm_jax.checkpoints.errors import CheckpointError, reading_errors
from svilm_jax.checkpoints.manager import Checkpoints
from svilm_jax.checkpoints.metadata import read_selection, saved_tokenizer
from svilm_jax.checkpoints.saved_arrays import read_params
from svilm_jax.config import BestConfig, resolve
from svilm_jax.inference import TrainedModel
from svilm_jax.models.parameters import abstract_model, bind

BEST = "best"  # takes the place of a step in WORKDIR/checkpoints/STEP


def read_checkpoint(path: str | Path) -> TrainedModel:
    """Loads a model from a workdir (its newest checkpoint), from one checkpoint's folder, or WORKDIR/checkpoints/best.

    Averaged parameters are preferred if the run kept them.

    Raises:
      CheckpointError: no readable checkpoint there, or a run that selected none.
    """
    path = Path(path).resolve()
    workdir, step, best = path, -1, path.name == BEST and path.parent.name == "checkpoints"
    if best:
        workdir = path.parent.parent
    elif path.name.isdigit() and (path / "meta").is_dir():
        workdir, step = path.parent.parent, int(path.name)
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
        if best:
            found = best_step(workdir, resolve(meta["config"]).train.best)
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


def best_step(workdir: Path, selected_by: BestConfig) -> int:
    """Returns the step of the best checkpoint of a run.

    Raises:
      CheckpointError: the run selects none, or has evaluated none yet.
    """
    if not selected_by.metric:
        raise CheckpointError(
            f"{workdir}: its run selected no best checkpoint, as config.train.best.metric was not set; leave out "
            "`best` for the newest one"
        )
    checkpoints = Checkpoints(workdir, keep=None, selected_by=selected_by)
    try:
        best = checkpoints.best()
    finally:
        checkpoints.close()
    if best is None:
        raise CheckpointError(f"{workdir}/checkpoints: none was evaluated yet; leave out `best` for the newest one")
    return best[0]
