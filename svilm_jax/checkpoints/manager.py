"""Checkpoints of a run: a wrapper around Orbax.

    <workdir>/checkpoints/<step>/state   parameters, optimizer state, step; sharded arrays
    <workdir>/checkpoints/<step>/meta    JSON: format version, data position, config, tokenizer, checksums

Saving is atomic: Orbax writes into a temporary folder and renames it.
"""

import base64
import contextlib
import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from svilm_jax.checkpoints.checksums import check_sums, checksums
from svilm_jax.checkpoints.train_state import StateSpec, TrainState
from svilm_jax.config import Config, ConfigError, resolve
from svilm_jax.errors import UserError
from svilm_jax.inference import TrainedModel
from svilm_jax.models.parameters import Params, abstract_model, bind, named, path_name, unnamed
from svilm_jax.text.tokenizers import Tokenizer, tokenizer_from_files

log = logging.getLogger(__name__)

FORMAT_VERSION = 2
# Exceptions of Orbax for files that are missing, truncated or damaged: it wraps TensorStore's errors in several ways.
UNREADABLE = Exception
# What it says of a state with the same arrays in another structure: stages of an optimizer that keep nothing.
_OTHER_STAGES = "tree structures do not match"


class CheckpointError(UserError):
    """A folder without a usable checkpoint; the message names it and says what to do."""


def make_meta(config: Config, tokenizer: Tokenizer) -> dict[str, Any]:
    """Returns the metadata stored with the arrays: enough to rebuild the model from this folder alone."""
    files = {name: base64.b64encode(content).decode() for name, content in tokenizer.files().items()}
    return {
        "format_version": FORMAT_VERSION,
        "config": json.loads(json.dumps(dataclasses.asdict(config))),
        "tokenizer": {"files": files, "lowercase": config.tokenizer.lowercase},
        "vocab_size": tokenizer.vocab_size,
    }


class Checkpoints:
    """The checkpoints of one workdir. Saving is asynchronous; `wait` blocks until everything is on disk.

    Nothing in the workdir changes before `begin`, so that reading one does not disturb a run that writes to it.
    """

    def __init__(self, workdir: Path, keep: int | None):
        """`keep`: number of newest checkpoints to keep; None: all."""
        self.folder = workdir.resolve() / "checkpoints"
        self._broken = workdir.resolve() / "broken_checkpoints"
        self._keep = keep
        self._writing = False
        self._unreadable: dict[int, str] = {}  # step -> reason
        self._manager = self._open(create=False, cleanup_tmp_directories=False) if self.folder.is_dir() else None

    def begin(self) -> None:
        """Prepares the workdir for saving: sets unreadable checkpoints aside and removes incomplete ones.

        Also called by `save`.
        """
        if self._writing:
            return
        for step, reason in self._unreadable.items():
            self._set_aside(step, reason)
        if self._manager is not None:
            self._manager.close()
        self._manager = self._open(max_to_keep=self._keep, cleanup_tmp_directories=True)
        self._writing = True

    def _open(self, **options: Any) -> ocp.CheckpointManager:
        chosen = ocp.CheckpointManagerOptions(**options)
        return ocp.CheckpointManager(self.folder, options=chosen, item_names=("state", "meta"))

    def latest(self) -> int | None:
        """Returns the step of the newest checkpoint."""
        return None if self._manager is None else self._manager.latest_step()

    def restore_newest(
        self, structure: StateSpec, check: Callable[[dict[str, Any]], None]
    ) -> tuple[int, TrainState] | None:
        """Restores the newest readable checkpoint, and its step; None if there is none at all.

        An unreadable checkpoint (full disk, interrupted copy) is skipped with a warning, and set aside by `begin`.

        Args:
          structure: structure of the state to restore.
          check: called with the meta dictionary; raises if this run must not resume from it.

        Raises:
          CheckpointError: there are checkpoints, and none is readable; or a state of another shape than this run's.
        """
        steps = [] if self._manager is None else sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            try:
                meta = self.meta(step)
            except CheckpointError:
                raise
            except UNREADABLE as error:
                self._pass_over(step, error)
                continue
            check(meta)  # errors of `check` are not due to damaged files
            try:
                self._check_shapes(step, structure)
                state = self.restore(step, structure)
                check_sums(_tree(state), meta.get("checksums", {}))
                return step, state
            except CheckpointError:
                raise
            except UNREADABLE as error:
                if _OTHER_STAGES in str(error):
                    raise CheckpointError(
                        f"{self.folder / str(step)} holds another state: the optimizer has other stages. Restore "
                        "config.optimizer and config.init, or start in a new --workdir"
                    ) from error
                self._pass_over(step, error)
        if steps:
            raise CheckpointError(
                f"{self.folder}: none of the checkpoints {sorted(steps)} can be read "
                f"({self._unreadable[steps[0]]}). Restore them from a copy, or start in a new --workdir"
            )
        return None

    def _check_shapes(self, step: int, structure: StateSpec) -> None:
        """Raises CheckpointError if the run's state has a different structure than the saved one."""
        names = _shapes_by_name(_saved_tree(self.folder / str(step)))
        wanted = _shapes_by_name(_tree(structure.shapes))
        differ = sorted(n for n in names.keys() | wanted.keys() if names.get(n) != wanted.get(n))
        if differ:
            told = "; ".join(f"{n}: saved {names.get(n)}, now {wanted.get(n)}" for n in differ[:4])
            raise CheckpointError(
                f"{self.folder / str(step)} holds another state ({told}). Restore config.model and config.optimizer, "
                "or start in a new --workdir"
            )

    def _pass_over(self, step: int, error: Exception) -> None:
        self._unreadable[step] = reason = _reason(error)
        if jax.process_count() > 1:
            # All processes must agree on the step to resume from; if one of them cannot read it, a person has to look.
            raise CheckpointError(
                f"{self.folder / str(step)}: cannot be read ({reason}); move it away, and the run resumes from the "
                "one before"
            ) from error
        log.warning("checkpoint %s cannot be read (%s): trying the one before it", self.folder / str(step), reason)

    def _set_aside(self, step: int, reason: str) -> None:
        target = self._broken / f"{step}-{time.time_ns()}"
        log.warning("checkpoint %s cannot be read (%s): moved to %s", self.folder / str(step), reason, target)
        self._broken.mkdir(exist_ok=True)
        (self.folder / str(step)).rename(target)

    def save(self, step: int, state: TrainState, position: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Starts writing a checkpoint with its data position.

        Raises:
          CheckpointError: this checkpoint, or the previous one that was still being written, cannot be saved.
        """
        told = {**meta, "data": dict(position), "checksums": checksums(_tree(state))}
        told["fingerprint"] = meta_fingerprint(told)
        items = ocp.args.Composite(state=ocp.args.StandardSave(_tree(state)), meta=ocp.args.JsonSave(told))
        with self._told():
            self.begin()
            self._existing().save(step, args=items)

    def restore(self, step: int, structure: StateSpec) -> TrainState:
        """Restores the state on the mesh of `structure`, whatever mesh wrote it."""
        wanted = jax.tree.map(
            lambda shape, sharding: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding),
            _tree(structure.shapes),
            _tree(structure.shardings),
        )
        restored = self._existing().restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(wanted)))
        return _state(restored["state"])

    def meta(self, step: int) -> dict[str, Any]:
        """Reads the meta dictionary alone."""
        restored = self._existing().restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))
        return check_meta(restored["meta"], self.folder / str(step))

    def _existing(self) -> ocp.CheckpointManager:
        if self._manager is None:
            raise CheckpointError(f"{self.folder}: no such folder")
        return self._manager

    def wait(self) -> None:
        """Waits until the last save is complete."""
        if self._manager is not None:
            with self._told():
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then stops Orbax's threads."""
        try:
            self.wait()
        finally:
            if self._manager is not None:
                with self._told():
                    self._manager.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Converts errors while writing to ones that name the folder and what is safe."""
        try:
            yield
        except UNREADABLE as error:
            raise CheckpointError(
                f"{self.folder}: a checkpoint cannot be saved ({_reason(error)}). Make room; the same "
                "command resumes from the latest complete one"
            ) from error


def meta_fingerprint(meta: Mapping[str, Any]) -> str:
    """Returns 16 hex digits over the meta dictionary without its fingerprint.

    It ties config, tokenizer and data position to the checksums of the arrays.
    """
    rest = {key: value for key, value in meta.items() if key != "fingerprint"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:16]


def check_meta(meta: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Rejects a checkpoint of another format; raises ValueError if its parts do not belong together."""
    if meta.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{folder}: checkpoint format {meta.get('format_version')!r}, this version reads {FORMAT_VERSION}: "
            "use the version of svilm_jax that wrote it"
        )
    if meta.get("fingerprint", found := meta_fingerprint(meta)) != found:  # absent in older checkpoints
        raise ValueError(
            f"its config, tokenizer or checksums were changed after it was saved: fingerprint {meta['fingerprint']} "
            f"stored, {found} computed"
        )
    return meta


def check_same_model(saved: Mapping[str, Any], config: Config, folder: Path) -> None:
    """Rejects resuming with another model, or with another initial checkpoint; other config changes are logged.

    Raises:
      ConfigError: naming the keys that differ.
    """
    now = json.loads(json.dumps(dataclasses.asdict(config)))
    saved = json.loads(json.dumps(dataclasses.asdict(resolve(saved))))  # with the defaults of keys added later
    changed = sorted(_differences(saved, now, "config"))
    model = [line for line in changed if line.startswith("config.model.")]
    if model:
        raise ConfigError(
            f"{folder} was trained with another model: {'; '.join(model)}. Restore these keys, or choose a new "
            "--workdir"
        )
    started, asked = saved["init"]["checkpoint"], config.init.checkpoint
    if asked and not started:
        raise ConfigError(
            f"config.init.checkpoint={asked}: not used, as {folder} holds a run that started without one; leave it "
            "out, or choose a new --workdir"
        )
    for line in changed:
        log.warning("resuming with a changed config: %s", line)


def check_same_tokenizer(saved: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Rejects resuming with another tokenizer, which has different token ids; takes two meta dictionaries.

    Raises:
      ConfigError: the files or their settings differ.
    """
    if saved["tokenizer"] != now["tokenizer"]:
        raise ConfigError(
            f"{folder} was trained with another tokenizer ({_tokenizer_told(saved)}, now {_tokenizer_told(now)}): "
            "restore config.tokenizer and its file, or choose a new --workdir"
        )


def _tokenizer_told(meta: Mapping[str, Any]) -> str:
    names = ", ".join(sorted(meta["tokenizer"]["files"]))
    case = "lower case" if meta["tokenizer"]["lowercase"] else "cased"
    digest = hashlib.sha256(json.dumps(meta["tokenizer"], sort_keys=True).encode()).hexdigest()[:8]
    return f"{names} of {meta['vocab_size']} tokens, {case}, {digest}"


def load(path: str | Path) -> TrainedModel:
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
        with _readable(workdir / "checkpoints" / str(found)):
            meta = checkpoints.meta(found)
    finally:
        checkpoints.close()
    config = resolve(meta["config"])
    files = {name: base64.b64decode(content) for name, content in meta["tokenizer"]["files"].items()}
    tokenizer = tokenizer_from_files(files, meta["tokenizer"]["lowercase"])
    graphdef, abstract = abstract_model(config, meta["vocab_size"])
    folder = workdir / "checkpoints" / str(found)
    with _readable(folder):
        params = _read_params(folder, meta.get("checksums", {}))
    return TrainedModel(bind(graphdef, abstract, params), config, tokenizer, found, _pointing_block(workdir))


def _pointing_block(workdir: Path) -> int:
    """Returns the grouping block that evaluation selected for pointing; 0, the last, if it did not run."""
    file = workdir / "metrics.json"
    try:
        return int(json.loads(file.read_text(encoding="utf-8")).get("grounding/block", 0))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("%s: names no grouping block for pointing (%s): using the last one", file, error)
        return 0


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Converts errors while reading to ones that name the folder."""
    try:
        yield
    except CheckpointError:
        raise
    except UNREADABLE as error:
        raise CheckpointError(
            f"{folder}: cannot be read ({_reason(error)}); name another one, WORKDIR/checkpoints/STEP"
        ) from error


def _reason(error: Exception) -> str:
    """Returns the first line of a possibly long message."""
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


def _saved_tree(folder: Path) -> Any:
    """Returns shapes and dtypes of the saved arrays.

    Asks the handler directly, since a checkpointer also looks for Orbax metadata one folder above, and warns.
    """
    metadata = ocp.PyTreeCheckpointHandler().metadata(folder / "state")
    if metadata is None:
        raise ValueError("the list of its arrays is missing")
    return metadata.tree


def _read_params(folder: Path, saved: dict[str, int]) -> Params:
    """Reads the parameters alone, unsharded, on the default device; the optimizer state is not read."""
    tree = _saved_tree(folder)
    with ocp.PyTreeCheckpointer() as checkpointer:
        name = "ema" if tree.get("ema") else "params"
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        wanted = jax.tree.map(lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype, sharding=device), tree[name])
        restore = ocp.checkpoint_utils.construct_restore_args(wanted)
        options = ocp.args.PyTreeRestore(item={name: wanted}, restore_args={name: restore}, partial_restore=True)
        restored = checkpointer.restore(folder / "state", args=options)
    check_sums({name: restored[name]}, saved)
    # List indices were written as numbers and are read back as text.
    return unnamed(named(restored[name]))


def _shapes_by_name(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns name -> shape of every array; list indices count as their numbers."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    shapes = {path_name(path): getattr(leaf, "shape", None) for path, leaf in leaves}
    return {name: tuple(shape) for name, shape in shapes.items() if shape is not None}


def _tree(state: TrainState) -> dict[str, Any]:
    """Returns a state as the nested dict that Orbax writes; absent averages are left out."""
    tree = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {name: value for name, value in tree.items() if value is not None}


def _state(tree: Mapping[str, Any]) -> TrainState:
    return TrainState(tree["step"], tree["params"], tree["optimizer"], tree.get("ema"))


def _differences(saved: Any, now: Any, path: str) -> list[str]:
    if isinstance(saved, Mapping) and isinstance(now, Mapping):
        keys = sorted(saved.keys() | now.keys())
        return [line for key in keys for line in _differences(saved.get(key), now.get(key), f"{path}.{key}")]
    return [] if saved == now else [f"{path} was {saved!r}, is {now!r}"]
