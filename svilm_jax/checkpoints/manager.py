"""Checkpoints of a run: a wrapper around Orbax.

    <workdir>/checkpoints/<step>/state           parameters, optimizer state, step; sharded arrays
    <workdir>/checkpoints/<step>/meta            JSON: format version, data position, config, tokenizer, checksums
    <workdir>/checkpoints/<step>/metrics         JSON: the metric by which the best checkpoint is chosen, if one is
    <workdir>/checkpoints/<step>/selection.json  choices of an evaluation after training

Saving is atomic: Orbax writes into a temporary folder and renames it.
"""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from svilm_jax.checkpoints.checksums import check_sums, checksums
from svilm_jax.checkpoints.errors import UNREADABLE, CheckpointError, short_reason
from svilm_jax.checkpoints.metadata import check_meta, meta_fingerprint
from svilm_jax.checkpoints.saved_arrays import saved_tree, shapes_by_name, state_from_tree, state_tree
from svilm_jax.checkpoints.train_state import StateSpec, TrainState
from svilm_jax.config import BestConfig

log = logging.getLogger(__name__)

# What Orbax says of a state with the same arrays in another structure: stages of an optimizer that keep nothing.
_OTHER_STAGES = "tree structures do not match"


class Checkpoints:
    """The checkpoints of one workdir. Saving is asynchronous; `wait` blocks until everything is on disk.

    Nothing in the workdir changes before `begin`, so that reading one does not disturb a run that writes to it.
    """

    def __init__(self, workdir: Path, keep: int | None, selected_by: BestConfig | None = None):
        """Opens the checkpoints of a workdir.

        Args:
          workdir: folder of the run.
          keep: number of newest checkpoints to keep; None: all.
          selected_by: how the best one is chosen, which is kept as well; None: not at all.

        Raises:
          CheckpointError: the metrics of a checkpoint cannot be read.
        """
        self._best = selected_by if selected_by and selected_by.metric else None
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
        if self._best is None:
            self._manager = self._open(max_to_keep=self._keep, cleanup_tmp_directories=True)
        else:
            policies = [
                ocp.checkpoint_managers.LatestN(self._keep),
                ocp.checkpoint_managers.BestN(get_metric_fn=self._rank, n=1, keep_checkpoints_without_metrics=False),
            ]
            kept = ocp.checkpoint_managers.AnyPreservationPolicy(policies)
            self._manager = self._open(preservation_policy=kept, cleanup_tmp_directories=True)
        self._writing = True

    def _open(self, **options: Any) -> ocp.CheckpointManager:
        chosen = ocp.CheckpointManagerOptions(best_fn=None if self._best is None else self._rank, **options)
        try:
            return ocp.CheckpointManager(self.folder, options=chosen, item_names=("state", "meta"))
        except ValueError as error:
            raise CheckpointError(
                f"{self.folder}: the metrics of a checkpoint cannot be read ({short_reason(error)}); move the damaged "
                "checkpoint away"
            ) from error

    def _rank(self, metrics: Mapping[str, float]) -> Any:
        """Returns a value that orders the metrics of checkpoints; of equally good ones the first is the best."""
        assert self._best is not None
        value = metrics.get(self._best.metric)
        if value is None:  # not evaluated, or by another metric before
            return (-math.inf, -metrics["step"])
        return (value if self._best.mode == "max" else -value, -metrics["step"])

    def best(self) -> tuple[int, float] | None:
        """Returns the step and the metric of the best checkpoint; None if none was evaluated or none is chosen."""
        step = None if self._manager is None or self._best is None else self._manager.best_step()
        if self._manager is None or self._best is None or step is None:
            return None
        value = (self._manager.metrics(step) or {}).get(self._best.metric)
        return None if value is None else (step, float(value))

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
                check_sums(state_tree(state), meta.get("checksums", {}))
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
        names = shapes_by_name(saved_tree(self.folder / str(step)))
        wanted = shapes_by_name(state_tree(structure.shapes))
        differ = sorted(n for n in names.keys() | wanted.keys() if names.get(n) != wanted.get(n))
        if differ:
            examples = "; ".join(f"{n}: saved {names.get(n)}, now {wanted.get(n)}" for n in differ[:4])
            raise CheckpointError(
                f"{self.folder / str(step)} holds another state ({examples}). Restore config.model and "
                "config.optimizer, or start in a new --workdir"
            )

    def _pass_over(self, step: int, error: Exception) -> None:
        self._unreadable[step] = reason = short_reason(error)
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

    def save(
        self,
        step: int,
        state: TrainState,
        position: Mapping[str, Any],
        meta: Mapping[str, Any],
        measured: Mapping[str, float] | None = None,
    ) -> None:
        """Starts writing a checkpoint with its data position.

        Args:
          step: number of steps taken.
          state: to save.
          position: of the data.
          meta: see `make_meta`.
          measured: value of the metric by which the best checkpoint is chosen; None: not evaluated.

        Raises:
          CheckpointError: this checkpoint, or the previous one that was still being written, cannot be saved.
        """
        saved = {**meta, "data": dict(position), "checksums": checksums(state_tree(state))}
        saved["fingerprint"] = meta_fingerprint(saved)
        items = ocp.args.Composite(state=ocp.args.StandardSave(state_tree(state)), meta=ocp.args.JsonSave(saved))
        with self._saving_errors():
            self.begin()
            metrics = None if self._best is None else {**(measured or {}), "step": step}
            self._existing().save(step, args=items, metrics=metrics)

    def restore(self, step: int, structure: StateSpec) -> TrainState:
        """Restores the state on the mesh of `structure`, whatever mesh wrote it."""
        wanted = jax.tree.map(
            lambda shape, sharding: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding),
            state_tree(structure.shapes),
            state_tree(structure.shardings),
        )
        restored = self._existing().restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(wanted)))
        return state_from_tree(restored["state"])

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
            with self._saving_errors():
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then stops Orbax's threads."""
        try:
            self.wait()
        finally:
            if self._manager is not None:
                with self._saving_errors():
                    self._manager.close()

    @contextlib.contextmanager
    def _saving_errors(self) -> Iterator[None]:
        """Converts errors while writing to ones that name the folder and what is safe."""
        try:
            yield
        except UNREADABLE as error:
            raise CheckpointError(
                f"{self.folder}: a checkpoint cannot be saved ({short_reason(error)}). Make room; the same "
                "command resumes from the latest complete one"
            ) from error
