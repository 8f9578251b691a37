"""What is kept of a run, and how is it found again? One wrapper around Orbax.

    <workdir>/checkpoints/<step>/state   parameters, optimiser statistics, step; sharded arrays
    <workdir>/checkpoints/<step>/meta    JSON: format version, data position, config, tokenizer

A checkpoint is complete or not there: Orbax writes into a temporary folder and renames it.
"""

import base64
import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from svilm_jax.config import Config, ConfigError, resolve
from svilm_jax.input.tokenization import Tokenizer, tokenizer_from_files
from svilm_jax.models.parameters import Params, abstract_model, bind
from svilm_jax.models.svilm import SVILM
from svilm_jax.training.state import Structure, TrainState

log = logging.getLogger(__name__)

FORMAT_VERSION = 1


class CheckpointError(ValueError):
    """A folder that holds no usable checkpoint; the message names it and says what to do."""


def make_meta(config: Config, tokenizer: Tokenizer) -> dict[str, Any]:
    """What goes beside the arrays: enough to rebuild the model from this folder alone."""
    files = {name: base64.b64encode(content).decode() for name, content in tokenizer.files().items()}
    return {
        "format_version": FORMAT_VERSION,
        "config": json.loads(json.dumps(dataclasses.asdict(config))),
        "tokenizer": {"files": files, "lowercase": config.tokenizer.lowercase},
        "vocab_size": tokenizer.vocab_size,
    }


class Checkpoints:
    """The checkpoints of one workdir. Saving returns at once; `wait` blocks until everything is on disk."""

    def __init__(self, workdir: Path, keep: int):
        self.folder = workdir.resolve() / "checkpoints"
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
        self._manager = ocp.CheckpointManager(self.folder, options=options, item_names=("state", "meta"))

    def latest(self) -> int | None:
        """The newest whole checkpoint's step."""
        return self._manager.latest_step()

    def save(self, step: int, state: TrainState, position: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Starts writing a checkpoint, with the data position that belongs to it."""
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(_tree(state)), meta=ocp.args.JsonSave({**meta, "data": dict(position)})
        )
        self._manager.save(step, args=items)

    def restore(self, step: int, structure: Structure) -> TrainState:
        """The state, laid on the mesh of `structure` whatever mesh wrote it."""
        wanted = jax.tree.map(
            lambda shape, sharding: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding),
            _tree(structure.shapes),
            _tree(structure.shardings),
        )
        restored = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(wanted)))
        return _state(restored["state"])

    def meta(self, step: int) -> dict[str, Any]:
        """The meta dictionary alone."""
        restored = self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))
        return check_meta(restored["meta"], self.folder / str(step))

    def wait(self) -> None:
        """Until the last save is whole."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then stops Orbax's threads."""
        self._manager.wait_until_finished()
        self._manager.close()


def check_meta(meta: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Refuses a checkpoint of another format."""
    if meta.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{folder}: checkpoint format {meta.get('format_version')!r}, this version reads {FORMAT_VERSION}: "
            "use the version of svilm_jax that wrote it"
        )
    return meta


def check_same_model(saved: Mapping[str, Any], config: Config, folder: Path) -> None:
    """Refuses to resume with another model; other changes of the config are logged and allowed.

    Raises:
      ConfigError: naming the keys that differ.
    """
    now = json.loads(json.dumps(dataclasses.asdict(config)))
    saved = json.loads(json.dumps(dataclasses.asdict(resolve(saved))))  # with the defaults of keys that came later
    changed = sorted(_differences(saved, now, "config"))
    model = [line for line in changed if line.startswith("config.model.")]
    if model:
        raise ConfigError(
            f"{folder} was trained with another model: {'; '.join(model)}. Restore these keys, or choose a new "
            "--workdir"
        )
    for line in changed:
        log.warning("resuming with a changed config: %s", line)


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A trained model with what belongs to it."""

    model: SVILM
    config: Config
    tokenizer: Tokenizer
    step: int


def load(path: str | Path) -> Loaded:
    """Rebuilds a model from a workdir (its newest checkpoint) or from one checkpoint's folder.

    Averaged parameters are preferred where the run kept them.

    Raises:
      CheckpointError: nothing there that can be read.
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
    checkpoints = Checkpoints(workdir, keep=None)  # type: ignore[arg-type]
    try:
        found = checkpoints.latest() if step < 0 else step
        if found is None:
            raise CheckpointError(f"{workdir}/checkpoints: holds no whole checkpoint; train for longer")
        meta = checkpoints.meta(found)
    finally:
        checkpoints.close()
    config = resolve(meta["config"])
    files = {name: base64.b64decode(content) for name, content in meta["tokenizer"]["files"].items()}
    tokenizer = tokenizer_from_files(files, meta["tokenizer"]["lowercase"])
    graphdef, abstract = abstract_model(config, meta["vocab_size"])
    return Loaded(
        bind(graphdef, abstract, _read_params(workdir / "checkpoints" / str(found))), config, tokenizer, found
    )


def _read_params(folder: Path) -> Params:
    """Parameters alone, whole, on the default device; optimiser statistics are not read."""
    with ocp.PyTreeCheckpointer() as checkpointer:
        tree = checkpointer.metadata(folder / "state").item_metadata
        name = "ema" if tree.get("ema") else "params"
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        wanted = jax.tree.map(lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype, sharding=device), tree[name])
        restore = ocp.checkpoint_utils.construct_restore_args(wanted)
        options = ocp.args.PyTreeRestore(item={name: wanted}, restore_args={name: restore}, partial_restore=True)
        return _numbered(checkpointer.restore(folder / "state", args=options)[name])


def _numbered(tree: Any) -> Any:
    """The same nested dict; places in a list of modules, which were written as numbers, come back as text."""
    if not isinstance(tree, Mapping):
        return tree
    return {int(key) if key.isdigit() else key: _numbered(value) for key, value in tree.items()}


def _tree(state: TrainState) -> dict[str, Any]:
    """A state as the nested dict that Orbax writes; absent averages are left out."""
    tree = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {name: value for name, value in tree.items() if value is not None}


def _state(tree: Mapping[str, Any]) -> TrainState:
    return TrainState(tree["step"], tree["params"], tree["optimizer"], tree.get("ema"))


def _differences(saved: Any, now: Any, path: str) -> list[str]:
    if isinstance(saved, Mapping) and isinstance(now, Mapping):
        keys = sorted(saved.keys() | now.keys())
        return [line for key in keys for line in _differences(saved.get(key), now.get(key), f"{path}.{key}")]
    return [] if saved == now else [f"{path} was {saved!r}, is {now!r}"]
